"""Numbers in words become digits, by the text2num library (eight European languages)."""

from collections.abc import Sequence

from text_to_num import find_numbers

from edge.finish.edits import Edit, bare, tail

LANGUAGES = ("en", "fr", "es", "pt", "de", "it", "nl", "ca")
# Single small numbers stay words, as style guides have it: "one of them", "three apples".
THRESHOLD = 3.0


class _Spoken:
    """A token as the library wants it."""

    def __init__(self, token: str, breaks: bool) -> None:
        self._text, self._breaks = bare(token).lower(), breaks

    def text(self) -> str:
        return self._text

    def nt_separated(self, _previous: object) -> bool:
        return self._breaks

    def not_a_number_part(self) -> bool:
        return False


def numerals(tokens: Sequence[str], language: str) -> list[Edit]:
    """Edits that write numbers as digits; none for a language that the library does not know."""
    code = language.lower().split("-")[0]
    if code not in LANGUAGES:
        return []
    # Written text has a hyphen where speech has none: "twenty-three" is one token there and two numbers' words here.
    spoken: list[_Spoken] = []
    owner: list[int] = []
    for index, token in enumerate(tokens):
        breaks = index > 0 and bool(tail(tokens[index - 1]))
        parts = (
            [part for part in token.split("-") if part] if bare(token).replace("-", "").isalpha() else [token]
        )
        for number, part in enumerate(parts):
            spoken.append(_Spoken(part, breaks and number == 0))
            owner.append(index)
    edits = []
    for found in find_numbers(spoken, code, THRESHOLD):
        first, last = owner[found.start], owner[found.end - 1] + 1
        whole = (found.start == 0 or owner[found.start - 1] < first) and (
            found.end == len(owner) or owner[found.end] >= last
        )
        if whole and any(not _is_digits(token) for token in tokens[first:last]):
            edits.append(Edit(first, last, found.text))
    return edits


def _is_digits(token: str) -> bool:
    return any(char.isdigit() for char in token)

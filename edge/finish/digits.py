"""Runs of digits in what was said, however they were said: "4111-1111", "four one one one", "double five"."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from edge.finish.edits import bare

# Digits by language as callers say them one by one.
_NAMES = {
    "en": "zero one two three four five six seven eight nine",
    "de": "null eins zwei drei vier fünf sechs sieben acht neun",
    "fr": "zéro un deux trois quatre cinq six sept huit neuf",
    "es": "cero uno dos tres cuatro cinco seis siete ocho nueve",
    "it": "zero uno due tre quattro cinque sei sette otto nove",
    "pt": "zero um dois três quatro cinco seis sete oito nove",
    "nl": "nul een twee drie vier vijf zes zeven acht negen",
}
_DIGITS = {code: {name: str(n) for n, name in enumerate(names.split())} for code, names in _NAMES.items()}
_DIGITS["en"] |= {"oh": "0", "o": "0", "nought": "0"}
_DIGITS["de"] |= {"zwo": "2"}
_DIGITS["pt"] |= {"meia": "6"}
_TIMES = {"double": 2, "triple": 3, "doppel": 2}
_BETWEEN = {"dash", "hyphen", "minus", "-", "–", "bindestrich", "tiret", "guion", "trattino", "traço"}
_PLUS = {"plus", "+"}
_TENS = {
    name: str(n)
    for n, name in enumerate(
        "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split(), 10
    )
}
_TWENTIES = {
    name: n for n, name in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)
}
_WRITTEN = re.compile(r"[+(]*\d[\d\-./()\s]*")


@dataclass(frozen=True, slots=True)
class Run:
    """Digits in a row.

    Attributes:
        digits: all of them.
        owners: the token each digit comes from.
        groups: how they were grouped, digits per token.
        plus: a plus came before them.
        first: index of the first token, a plus included.
    """

    digits: str
    owners: tuple[int, ...]
    groups: tuple[int, ...]
    plus: bool
    first: int

    @property
    def last(self) -> int:
        return self.owners[-1] + 1


def runs(tokens: Sequence[str], language: str) -> list[Run]:
    """The runs of digits among the tokens, in order."""
    found: list[Run] = []
    digits, owners, groups = "", list[int](), list[int]()
    plus_at, times = -1, 1

    def close() -> None:
        nonlocal digits, owners, groups, plus_at, times
        if digits:
            first = plus_at if plus_at >= 0 else owners[0]
            found.append(Run(digits, tuple(owners), tuple(groups), plus_at >= 0, first))
        digits, owners, groups, plus_at, times = "", [], [], -1, 1

    names = _DIGITS.get(language.lower().split("-")[0], _DIGITS["en"])
    for index, token in enumerate(tokens):
        word = bare(token).lower()
        said = _digits(word, names)
        if said is None and word in _TIMES:
            times = _TIMES[word]
        elif said is None and word in _BETWEEN and digits:
            continue
        elif said is None and word in _PLUS:
            close()
            plus_at = index
        elif said is None:
            close()
        else:
            if "+" in token and digits:
                close()
            plus_at = index if "+" in token and not digits else plus_at
            said, times = said * times, 1
            if digits and _completes(tokens, index, said):  # "forty one" is one number, not two
                digits, owners[-1] = digits[:-1] + said, index
            else:
                digits += said
                owners += [index] * len(said)
                groups.append(len(said))
    close()
    return found


def _digits(word: str, names: dict[str, str]) -> str | None:
    if word in names:
        return names[word]
    if word in _TENS:
        return _TENS[word]
    if word in _TWENTIES:
        return f"{_TWENTIES[word]}0"
    ten, _, one = word.partition("-")
    if ten in _TWENTIES and len(names.get(one, "")) == 1:
        return f"{_TWENTIES[ten]}{names[one]}"
    if _WRITTEN.fullmatch(word):
        return "".join(char for char in word if char.isdigit())
    return None


def _completes(tokens: Sequence[str], index: int, said: str) -> bool:
    before = bare(tokens[index - 1]).lower() if index else ""
    return before in _TWENTIES and len(said) == 1 and said != "0" and tokens[index - 1].isalpha()

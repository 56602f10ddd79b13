"""LocalAgreement-2: words that two hypotheses in a row agree on are committed.

Machacek, Dabre and Bojar, "Turning Whisper into Real-Time Transcription System", 2023. Here on tokens, so that the
committed ones can be forced as the prefix of the next decode.
"""

from collections.abc import Callable, Sequence
from unicodedata import category

TextOf = Callable[[tuple[int, ...]], str]

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"  # a token that ends inside a character
# Scripts written without spaces: any character may end a word.
_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3040, 0x30FF),  # kana
    (0x3400, 0x9FFF),  # Han
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)
_IN_WORDS = "'\N{RIGHT SINGLE QUOTATION MARK}-"
_IN_NUMBERS = ".,:"


def agreed(previous: Sequence[int], current: Sequence[int], text_of: TextOf) -> int:
    """How many tokens at the head of `current` are whole words that `previous` has too.

    The last word of `current` never counts: audio that is still to come may change it.
    """
    common = 0
    for one, other in zip(previous, current, strict=False):
        if one != other:
            break
        common += 1
    before, now = tuple(previous), tuple(current)
    # A word ends in both: "over" and "overall" begin with the same token.
    while common and not (
        is_boundary(now, common, text_of) and (common == len(before) or is_boundary(before, common, text_of))
    ):
        common -= 1
    return common


def is_boundary(tokens: tuple[int, ...], n: int, text_of: TextOf) -> bool:
    """Whether a word ends after the first `n` tokens and something follows it."""
    if not 0 < n < len(tokens):
        return False
    head, tail = text_of(tokens[:n]), text_of(tokens[n:])
    if not head or not tail or head.endswith(REPLACEMENT) or tail.startswith(REPLACEMENT):
        return False
    if tail[0].isspace() or head[-1].isspace() or _unspaced(head[-1]) or _unspaced(tail[0]):
        return True
    # Punctuation may still change, the word before it does not; but "don" + "'t" and "3" + ".5" are one word.
    if tail[0] in _IN_WORDS or (tail[0] in _IN_NUMBERS and head[-1].isdigit()):
        return len(tail) > 1 and not tail[1].isalnum()
    return category(tail[0])[0] == "P"


def _unspaced(character: str) -> bool:
    return any(low <= ord(character) <= high for low, high in _UNSPACED)

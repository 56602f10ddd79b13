"""How text is written for the caller: punctuation, case, profanity. Pure, and stable for growing text."""

from dataclasses import dataclass
from unicodedata import category

from asr.transcript.profanity import mask

# Punctuation by Unicode that is read aloud, so it is part of the words.
_SPOKEN = frozenset("%&@#/*")
_IN_WORDS = frozenset("'\N{RIGHT SINGLE QUOTATION MARK}-\N{NON-BREAKING HYPHEN}")
_IN_NUMBERS = frozenset(".,:")


@dataclass(frozen=True, slots=True)
class Style:
    """Switches of one stream. `apply` of a head of a text is a head of `apply` of the text, up to its last word."""

    no_punctuation: bool = False
    no_capitalization: bool = False
    profanity_filter: bool = False

    def apply(self, text: str) -> str:
        """Text as the caller wants it."""
        if self.profanity_filter:
            text = mask(text)
        if self.no_punctuation:
            text = strip_punctuation(text)
        return text.lower() if self.no_capitalization else text


def strip_punctuation(text: str) -> str:
    """Removes punctuation, but not what belongs to words (don't, well-known) and numbers (3.5, 10:30)."""
    kept = []
    for i, character in enumerate(text):
        if category(character)[0] == "P" and character not in _SPOKEN:
            before, after = text[i - 1 : i] if i else "", text[i + 1 : i + 2]
            in_word = character in _IN_WORDS and before.isalnum() and after.isalnum()
            in_number = character in _IN_NUMBERS and before.isdigit() and after.isdigit()
            if not in_word and not in_number:
                kept.append(" " if before.isalnum() and after.isalnum() and before.isascii() else "")
                continue
        kept.append(character)
    return " ".join("".join(kept).split())


def common_head(text: str, head: str) -> int:
    """How many characters at the start of `text` are those of `head`."""
    n = 0
    for one, other in zip(text, head, strict=False):
        if one != other:
            break
        n += 1
    return n

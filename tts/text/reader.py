"""Text to words with their sound: inline phonemes, the caller's lexicon, then the language's own rules."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from tts.text.japanese import read_japanese
from tts.text.lexicon import Lexicon, pronounced
from tts.text.normalize import read_english, read_other
from tts.text.words import Token, Word, clean, tokenize

# "[[təˈmɑːtoʊ]]", "[tomato](/təˈmɑːtoʊ/)", and the characters that stand for words made elsewhere.
_INLINE = re.compile(
    r"\[\[(?P<ipa>[^\[\]]+)\]\]|\[(?P<written>[^\[\]\n]+)\]\(/(?P<sound>[^)\n]+)/\)|(?P<slot>[\U000F0000-\U000FFFFD])"
)
_LINK = re.compile(r"\[([^\[\]\n]+)\]\((?:https?://|mailto:)[^)\s]*\)")
FIRST_SLOT = 0xF0000
MAX_SLOTS = 0xFFFD

MONTH_FIRST = ("en", "en-us", "en-ph")

Slots = Mapping[str, Sequence[Word]]


class Reader:
    """Reads text of one language with one lexicon."""

    def __init__(self, language: str, lexicon: Lexicon | None = None) -> None:
        self._rules = _rules(language.lower())
        self._lexicon = lexicon or Lexicon()

    def read(self, text: str, slots: Slots | None = None) -> list[Word]:
        """The words of `text` in order; `slots` holds those that single private characters stand for."""
        words: list[Word] = []
        position = 0
        text = _LINK.sub(r"\1", text)
        for match in _INLINE.finditer(text):
            words += self._read_plain(text[position : match.start()])
            words += self._read_inline(match, slots or {})
            position = match.end()
        return words + self._read_plain(text[position:])

    def _read_inline(self, match: re.Match[str], slots: Slots) -> Sequence[Word]:
        if ipa := match["ipa"]:
            return [Word(match.group(), ipa=ipa)]
        if match["written"]:
            return [pronounced(match["written"], f"/{match['sound']}/")]
        return slots.get(match["slot"], ())

    def _read_plain(self, text: str) -> list[Word]:
        tokens = tokenize(clean(text))
        words: list[Word] = []
        run: list[Token] = []
        i = 0
        while i < len(tokens):
            if found := self._lexicon.find(tokens, i):
                words += self._rules(run) + found
                run = []
                i += len(found[0].written.split(" "))
            else:
                run.append(tokens[i])
                i += 1
        return words + self._rules(run)


def _rules(language: str) -> Callable[[Sequence[Token]], list[Word]]:
    if language.partition("-")[0] == "ja":
        return read_japanese
    if language.partition("-")[0] != "en":
        return read_other
    return partial(read_english, day_first=language not in MONTH_FIRST)

"""Words to the phoneme ids of a voice, and which ids belong to which written word."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from functools import lru_cache

from tts.model import VoiceInfo, WordSpan
from tts.text import espeak
from tts.text.kokoro import notation
from tts.text.words import Word

PAD, START, END = "_", "^", "$"
_HYPHEN = re.compile(r"(?<=[a-z])-(?=[a-z])")
_TAIL_IDS = 4  # a mark with its pad, the end sign, one to spare
# What other notations write for sounds that voices know under another sign.
_SAME_SOUND = {
    "g": "ɡ", "ʤ": "dʒ", "ʧ": "tʃ", "ʦ": "ts", "ʣ": "dz", "ɝ": "ɜɹ", "ɫ": "l", "ᵊ": "ə", "’": "ˈ", "'": "ˈ", ":": "ː",
    "\u0361": "", "\u035c": "", "‿": "", "|": "", "‖": "", ".": "",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Phonemes:
    """A clause ready for the voice."""

    ids: tuple[int, ...]
    spans: tuple[WordSpan, ...]


@dataclass(slots=True)
class _Heard:
    """One written word in phonemes."""

    written: str
    ipa: str
    mark: str = ""
    joined: bool = False  # said in one with the word before: "of the"


@dataclass(slots=True)
class PhonemeEncoder:
    """Encodes words for one voice; `unknown` counts the phonemes the voice has no id for."""

    voice: VoiceInfo
    unknown: Counter[str] = field(default_factory=Counter)

    def encode(self, words: Sequence[Word]) -> list[Phonemes]:
        """Clauses of at most `voice.max_clause_ids` ids; [] when no word makes a sound."""
        heard = [part for word in self._hear(words) for part in self._fitting(word)]
        clauses: list[Phonemes] = []
        while any(word.ipa for word in heard):
            phonemes, used = self._assign(heard)
            if phonemes.spans:
                clauses.append(phonemes)
            heard = heard[used:]
        return clauses

    def _hear(self, words: Sequence[Word]) -> Iterable[_Heard]:
        """Phonemises runs of words between punctuation together: how a word sounds depends on its neighbours."""
        run: list[Word] = []
        for word in words:
            run.append(word)
            if word.mark or "," in word.spoken:
                yield from self._hear_run(run)
                run = []
        yield from self._hear_run(run)

    def _hear_run(self, words: Sequence[Word]) -> list[_Heard]:
        if not words:
            return []
        pieces = [piece.strip() for piece in _apart(words[-1]).split(",")]
        # A word with its own phonemes still lends its neighbours their context: "a" before it is the article.
        spoken = [
            _apart(word) if not word.ipa or "[" in word.written else _context(word.written) for word in words
        ]
        spoken[-1] = spoken[-1] if words[-1].ipa else pieces[0]
        heard = [
            _Heard(word.written, self._inventory(word.ipa), word.mark)
            if word.ipa
            else _Heard(word.written, phonemes.strip(), word.mark, joined=phonemes[:1] not in ("", " "))
            for word, phonemes in zip(words, self._share(spoken), strict=True)
        ]
        for piece in pieces[1:]:  # commas inside a word: the groups of a telephone number
            heard[-1].ipa += ", " + self._ipa(piece) if piece else ","
        return heard

    def _share(self, spoken: Sequence[str]) -> list[str]:
        """The phonemes of each of `spoken`, phonemised in one go; without a space before when said in one."""
        counts = [len(text.split()) for text in spoken]
        phrase = " ".join(text for text in spoken if text)
        groups = self._ipa(phrase).split()
        if len(groups) == sum(counts):
            shared, position = [], 0
            for count in counts:
                shared.append("".join(f" {group}" for group in groups[position : position + count]))
                position += count
            return shared
        alone = tuple(self._ipa(text) if text else "" for text in spoken)
        return [*_align(alone, "".join(f" {group}" for group in groups))]

    def _ipa(self, text: str) -> str:
        if not text:
            return ""
        if not self.voice.espeak_voice:  # a voice of letters
            return unicodedata.normalize("NFD", text.lower())
        heard = espeak.ipa(text, self.voice.espeak_voice)
        if self.voice.engine == "kokoro":
            return notation(heard, self.voice.espeak_voice)
        return unicodedata.normalize("NFD", heard)

    def _inventory(self, ipa: str) -> str:
        """Given IPA in the signs of the voice."""
        known = self.voice.phoneme_id_map
        signs = notation(ipa) if self.voice.engine == "kokoro" else unicodedata.normalize("NFD", ipa)
        return "".join(
            sign if sign in known and sign not in "'.:" else _SAME_SOUND.get(sign, sign) for sign in signs
        )

    def _assign(self, heard: Sequence[_Heard]) -> tuple[Phonemes, int]:
        """Ids of as many words as one clause may hold, at least one; and how many that were."""
        line = _Line(self.voice.phoneme_id_map)
        spans: list[WordSpan] = []
        used = 0
        for word in heard:
            mark = len(line.ids)
            if spans and word.ipa and not word.joined:
                line.add(" ")
            first = line.next_index
            unknown = [sign for sign in map(line.add, word.ipa) if sign]
            if used and len(line.ids) > self.voice.max_clause_ids - _TAIL_IDS:
                del line.ids[mark:]
                break
            self.unknown.update(unknown)
            if line.next_index > first:
                spans.append(WordSpan(word.written, first, line.last_index))
            if spans and word.mark:
                line.add(word.mark)
            used += 1
        return Phonemes(line.finish(), tuple(spans)), max(used, 1)

    def _fitting(self, word: _Heard) -> Iterable[_Heard]:
        """The word, cut between its groups of phonemes if it is longer than a clause may be."""
        if not word.ipa and not word.mark:
            return
        room = (self.voice.max_clause_ids - 2 * _TAIL_IDS) // 2
        while len(word.ipa) > room:
            space = word.ipa.rfind(" ", 1, room)
            end = space if space > 0 else room
            yield _Heard(word.written, word.ipa[:end])
            word = _Heard(word.written, word.ipa[end:].lstrip(), word.mark)
        yield word


class _Line:
    """Ids in the making: start and end signs around, a pad after each, when the voice has them."""

    def __init__(self, id_map: Mapping[str, tuple[int, ...]]) -> None:
        self._map = id_map
        self._pad = tuple(id_map.get(PAD, ()))
        self.ids: list[int] = [*id_map.get(START, ())]
        if self.ids:
            self.ids += self._pad

    @property
    def next_index(self) -> int:
        return len(self.ids)

    @property
    def last_index(self) -> int:
        """Index of the last id that is not a pad."""
        return len(self.ids) - 1 - len(self._pad)

    def add(self, sign: str) -> str:
        """Appends the ids of a sign; returns it when the voice does not know it."""
        known = self._map.get(sign)
        if known is None:
            return sign
        self.ids += (*known, *self._pad)
        return ""

    def finish(self) -> tuple[int, ...]:
        return (*self.ids, *self._map.get(END, ()))


@lru_cache(maxsize=espeak.CACHED_PHRASES)
def _align(alone: tuple[str, ...], together: str) -> tuple[str, ...]:
    """Splits phonemes spoken together between words whose phonemes alone are known.

    espeak-ng joins some words ("of the") and parts others, so the number of groups says nothing; the longest common
    runs of both strings do.
    """
    flat = "".join(alone)
    blocks = SequenceMatcher(None, flat, together, autojunk=False).get_matching_blocks()
    cuts, position = [0], 0
    for phonemes in alone[:-1]:
        position += len(phonemes)
        cut = _locate(blocks, position, together)
        cut -= together[cut - 1 : cut] == " "  # a space belongs to the word that follows
        cuts.append(max(cuts[-1], cut))
    cuts.append(len(together))
    return tuple(together[begin:end] for begin, end in zip(cuts, cuts[1:], strict=False))


def _locate(blocks: Sequence[tuple[int, int, int]], position: int, text: str) -> int:
    """Where `position` of the first string falls in the second, `text`."""
    a_end = b_end = 0
    for a, b, size in blocks:
        if position < a:  # between two runs: in proportion, or at a space close by
            share = (position - a_end) / (a - a_end)
            near = round(b_end + share * (b - b_end))
            return next((near + k for k in (0, 1, -1) if text[near + k : near + k + 1] == " "), near)
        if position <= a + size:
            return b + position - a
        a_end, b_end = a + size, b + size
    return b_end


def _apart(word: Word) -> str:
    """How a word is said, a number in several words: "sixty-five" is one sound to espeak-ng, "65" is two.

    Voices have heard the digits. Of 80 numbers of two digits a recogniser missed three said in one, and none of these.
    """
    if not any(char.isdigit() for char in word.written):
        return word.spoken
    return _HYPHEN.sub(" ", word.spoken)


def _context(written: str) -> str:
    return " ".join("".join(char if char.isalpha() or char in "' " else " " for char in written).split())

"""Subtitles from words with times: SRT and WebVTT.

Cue limits follow common broadcast practice: two lines of 42 characters, six seconds, a break at a pause or the
end of a sentence.
"""

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

LINE_CHARS = 42
CUE_CHARS = 2 * LINE_CHARS
CUE_S = 6.0
PAUSE_S = 0.7
# A sentence that ends after a word or two stays with the next one.
SENTENCE_CHARS = 20
SENTENCE_END = (".", "?", "!", "。", "？", "！", "…")


@dataclass(frozen=True, slots=True)
class Word:
    """A word with its punctuation; seconds from the start of the audio."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Cue:
    """What is shown at once."""

    text: str
    start_s: float
    end_s: float


def cues(words: Sequence[Word]) -> list[Cue]:
    """Groups words into cues."""
    groups: list[list[Word]] = []
    for word in words:
        if not groups or _breaks(groups[-1], word):
            groups.append([])
        groups[-1].append(word)
    return [Cue(_join(group), group[0].start_s, max(w.end_s for w in group)) for group in groups]


def srt(found: Iterable[Cue]) -> str:
    """SubRip: numbered cues, times with a comma."""
    blocks = [
        f"{number}\n{_clock(cue.start_s, ',')} --> {_clock(cue.end_s, ',')}\n{_wrap(cue.text)}\n"
        for number, cue in enumerate(found, 1)
    ]
    return "\n".join(blocks)


def vtt(found: Iterable[Cue]) -> str:
    """WebVTT (W3C): times with a point, `<`, `&` and `-->` escaped."""
    blocks = ["WEBVTT\n"]
    for cue in found:
        text = _wrap(cue.text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        blocks.append(f"{_clock(cue.start_s, '.')} --> {_clock(cue.end_s, '.')}\n{text}\n")
    return "\n".join(blocks)


def _breaks(cue: Sequence[Word], word: Word) -> bool:
    text = _join(cue)
    return (
        word.start_s - cue[-1].end_s > PAUSE_S
        or word.end_s - cue[0].start_s > CUE_S
        or len(text) + 1 + len(word.text) > CUE_CHARS
        or (text.endswith(SENTENCE_END) and len(text) >= SENTENCE_CHARS)
    )


def _join(words: Sequence[Word]) -> str:
    text = ""
    for word in words:
        piece = word.text.strip()
        closes = piece[:1] in ".,?!:;" and len(piece) == 1  # punctuation may be a word of its own
        text += piece if closes or not text else f" {piece}"
    return text


def _wrap(text: str) -> str:
    return "\n".join(textwrap.wrap(text, LINE_CHARS)) or text


def _clock(seconds: float, mark: str) -> str:
    ms = max(0, round(seconds * 1000))
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}{mark}{ms % 1000:03}"

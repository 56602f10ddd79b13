"""Subtitles from finals: SubRip and WebVTT (pure functions)."""

from collections.abc import Iterable, Iterator

from common.pb.voxmesh.asr.v1 import Result, Word
from edge.words import SENTENCE_END, of_results

MAX_CHARS = 84  # two lines of 42, what subtitle guides allow
MAX_MS = 7_000
MAX_PAUSE_MS = 1_000


def srt(results: Iterable[Result]) -> str:
    """SubRip."""
    cues = (
        f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{text}\n"
        for number, (start, end, text) in enumerate(_cues(results), start=1)
    )
    return "\n".join(cues)


def vtt(results: Iterable[Result]) -> str:
    """WebVTT."""
    cues = (
        f"{_clock(start, '.')} --> {_clock(end, '.')}\n{_escape(text)}\n"
        for start, end, text in _cues(results)
    )
    return "\n".join(["WEBVTT\n", *cues])


def _cues(results: Iterable[Result]) -> Iterator[tuple[int, int, str]]:
    held: list[Word] = []
    for word in of_results(results):
        if held and _full(held, word):
            yield _cue(held)
            held = []
        held.append(word)
    if held:
        yield _cue(held)


def _full(held: list[Word], word: Word) -> bool:
    chars = sum(len(one.text) + 1 for one in held) + len(word.text)
    sentence_over = bool(SENTENCE_END.search(held[-1].text)) and chars > MAX_CHARS // 3
    return (
        sentence_over
        or chars > MAX_CHARS
        or word.end_ms - held[0].start_ms > MAX_MS
        or word.start_ms - held[-1].end_ms > MAX_PAUSE_MS
    )


def _cue(words: list[Word]) -> tuple[int, int, str]:
    return (
        words[0].start_ms,
        max(words[-1].end_ms, words[0].start_ms + 1),
        " ".join(one.text for one in words),
    )


def _clock(ms: int, point: str) -> str:
    second, milli = divmod(ms, 1000)
    return f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}{point}{milli:03d}"


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

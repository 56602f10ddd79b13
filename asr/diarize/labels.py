"""From labelled windows to labelled words."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from asr.diarize.windows import Window
from asr.transcript.events import TimedWord, Transcript


@dataclass(frozen=True, slots=True)
class Turn:
    """One voice speaks at [start, end), in the unit of whoever made it."""

    start: int
    end: int
    voice: int


def turns(windows: Sequence[Window], voices: Sequence[int]) -> list[Turn]:
    """Who speaks when, in samples. A change within a region lies midway between the middles of two windows.

    Args:
        windows: in the order of the audio.
        voices: of each window.
    """
    result: list[Turn] = []
    for index, (window, voice) in enumerate(zip(windows, voices, strict=True)):
        before = windows[index - 1] if index and windows[index - 1].region == window.region else None
        if before is None or not result:
            result.append(Turn(window.start, window.end, voice))
        elif result[-1].voice == voice:
            result[-1] = replace(result[-1], end=window.end)
        else:
            change = (before.start + before.end + window.start + window.end) // 4
            result[-1] = replace(result[-1], end=change)
            result.append(Turn(change, window.end, voice))
    return result


@dataclass(slots=True)
class Names:
    """Speaker numbers from 0, given out in the order in which voices first say a word."""

    _numbers: dict[int, int] = field(default_factory=dict)

    def of(self, voice: int) -> int:
        """The speaker number of a voice."""
        return self._numbers.setdefault(voice, len(self._numbers))


def label(transcript: Transcript, spoken: Sequence[Turn], names: Names) -> Transcript:
    """The transcript with the speaker of each word: who speaks during most of it, else who speaks nearest to it.

    Args:
        transcript: its words, in ms.
        spoken: turns in ms, in order; without any, the first voice says everything.
        names: carried from one transcript of the channel to the next.
    """
    ends = [turn.end for turn in spoken]
    return replace(
        transcript,
        words=tuple(
            replace(word, speaker=names.of(_voice_of(word, spoken, ends))) for word in transcript.words
        ),
    )


def _voice_of(word: TimedWord, spoken: Sequence[Turn], ends: Sequence[int]) -> int:
    if not spoken:
        return 0
    first = bisect_left(ends, word.start_ms)  # of the turns that end during the word or after it
    near = spoken[max(first - 1, 0) : first + 1]
    during: list[Turn] = list(near)
    for turn in spoken[first + 1 :]:
        if turn.start >= word.end_ms:
            break
        during.append(turn)
    return max(during, key=lambda turn: _overlap(turn, word)).voice


def _overlap(turn: Turn, word: TimedWord) -> int:
    """Shared ms; below zero it is the distance."""
    return min(turn.end, word.end_ms) - max(turn.start, word.start_ms)


def to_ms(spoken: Iterable[Turn], samples_per_ms: int, offset_ms: int) -> list[Turn]:
    """Turns in samples, on the caller's clock."""
    return [
        Turn(turn.start // samples_per_ms + offset_ms, turn.end // samples_per_ms + offset_ms, turn.voice)
        for turn in spoken
    ]

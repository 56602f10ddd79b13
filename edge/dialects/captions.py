"""Subtitles from finals: SubRip and WebVTT (pure functions)."""

from collections.abc import Iterable

from common import subtitles
from common.pb.voxmesh.asr.v1 import Result
from edge.listening.words import of_results


def srt(results: Iterable[Result]) -> str:
    """SubRip."""
    return subtitles.srt(_cues(results))


def vtt(results: Iterable[Result]) -> str:
    """WebVTT."""
    return subtitles.vtt(_cues(results))


def _cues(results: Iterable[Result]) -> list[subtitles.Cue]:
    # Players drop a cue without length.
    return subtitles.cues(
        [
            subtitles.Word(one.text, one.start_ms / 1000, max(one.end_ms, one.start_ms + 1) / 1000)
            for one in of_results(results)
        ]
    )

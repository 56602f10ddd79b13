"""Long recordings: where they are cut and how the pieces are joined."""

import numpy as np
import pytest

from asr.model import DecodedWord, DecodeResult
from asr.recording.segment import Segment, Segmenter, SegmentLimits
from asr.recording.stitch import join, place
from asr.transcript.guard import Heard, longest_wordless_s, stopped_early
from asr.voice.vad import CHUNK_SAMPLES

CHUNK_S = CHUNK_SAMPLES / 16_000


def timeline(spec: str) -> np.ndarray:
    """Speech probabilities per chunk: "s10 .2 s5" is 10 s of speech, 2 s of silence, 5 s of speech."""
    values = {"s": 0.95, ".": 0.02, "~": 0.6}
    return np.concatenate(
        [np.full(round(float(part[1:]) / CHUNK_S), values[part[0]], np.float32) for part in spec.split()]
    )


def samples_of(probabilities: np.ndarray) -> np.ndarray:
    """Samples that carry their own position, louder where speech is."""
    return np.repeat(probabilities, CHUNK_SAMPLES).astype(np.float32)


def segments(spec: str, limits: SegmentLimits | None = None, *, piece: int = 10_000) -> list[Segment]:
    probabilities = timeline(spec)
    samples = samples_of(probabilities)
    segmenter = Segmenter(0.5, limits)
    result: list[Segment] = []
    for i in range(0, len(probabilities), piece):
        part = samples[i * CHUNK_SAMPLES : (i + piece) * CHUNK_SAMPLES]
        result += segmenter.push(part, probabilities[i : i + piece])
    return result + segmenter.finish()


def seconds(segment: Segment) -> tuple[float, float]:
    return segment.start / 16_000, segment.end / 16_000


def test_silence_gives_nothing() -> None:
    assert segments(".100") == []


def test_a_click_gives_nothing() -> None:
    assert segments(".5 s0.03 .5") == []


def test_short_speech_is_one_segment_with_a_little_silence_around_it() -> None:
    (segment,) = segments(".5 s4 .5")
    start, end = seconds(segment)
    assert start == pytest.approx(4.75, abs=0.05)
    assert end == pytest.approx(9.25, abs=0.05)
    assert segment.voiced_ms == pytest.approx(4000, abs=40)


def test_short_pauses_stay_inside_a_segment() -> None:
    assert len(segments(".1 s4 .1 s4 .0.5 s4 .1")) == 1


def test_long_silence_is_left_out() -> None:
    parts = segments("s4 .30 s4")
    assert len(parts) == 2
    assert sum(len(part.pcm) for part in parts) < 10 * 16_000


def test_long_speech_is_cut_at_its_longest_late_pause() -> None:
    parts = segments("s8 .1 s6 .0.5 s20")
    assert len(parts) == 2
    assert 14.0 < seconds(parts[0])[1] < 15.6 or 8.0 < seconds(parts[0])[1] < 9.1


def test_no_segment_exceeds_the_model() -> None:
    for spec in ("s300", "s100 .0.4 s100", "~200", "s29 .0.3 " * 8):
        parts = segments(spec.strip())
        assert max(len(part.pcm) for part in parts) <= 30 * 16_000


def test_speech_without_any_pause_is_cut_with_an_overlap() -> None:
    parts = segments("s60")
    assert len(parts) >= 2
    for left, right in zip(parts, parts[1:], strict=False):
        assert left.overlaps_next
        assert right.overlaps_previous
        assert right.start < left.high == right.low < left.end


def test_a_short_dip_is_a_clean_cut() -> None:
    parts = segments("s20 .0.2 s20")
    assert not parts[0].overlaps_next
    assert seconds(parts[0])[1] == pytest.approx(20.1, abs=0.15)


def test_every_voiced_chunk_is_in_a_segment() -> None:
    for spec in ("s3 .2 s40 .0.5 s7 .9 s70 .1 s2", "s61 .0.35 " * 5):
        probabilities = timeline(spec.strip())
        covered = np.zeros(len(probabilities) * CHUNK_SAMPLES, bool)
        for segment in segments(spec.strip()):
            covered[segment.start : segment.end] = True
        voiced = np.repeat(probabilities > 0.5, CHUNK_SAMPLES)
        assert not (voiced & ~covered).any()


def test_windows_hold_the_audio_they_say() -> None:
    spec = "s20 .0.4 s20 .3 s30"
    samples = samples_of(timeline(spec))
    for segment in segments(spec):
        assert np.array_equal(segment.pcm, samples[segment.start : segment.end])


@pytest.mark.parametrize("piece", [1, 7, 100])
def test_the_cuts_do_not_depend_on_how_the_audio_arrives(piece: int) -> None:
    spec = "s20 .0.4 s20 .3 s60 .1"
    whole, pieces = segments(spec), segments(spec, piece=piece)
    assert [(s.start, s.end, s.low, s.high) for s in whole] == [
        (s.start, s.end, s.low, s.high) for s in pieces
    ]


def test_the_rest_after_the_last_chunk_belongs_to_the_last_segment() -> None:
    probabilities = timeline("s4")
    segmenter = Segmenter(0.5)
    parts = segmenter.push(samples_of(probabilities), probabilities)
    parts += segmenter.finish(np.full(100, 0.5, np.float32))
    assert parts[-1].pcm[-1] == 0.5
    assert len(parts[-1].pcm) == parts[-1].end - parts[-1].start


def test_memory_is_bounded_over_two_hours() -> None:
    segmenter = Segmenter(0.5)
    minute = timeline("s20 .0.5 s20 .3 s16.5")
    samples = samples_of(minute)
    most = 0
    for _ in range(120):
        segmenter.push(samples, minute)
        most = max(most, segmenter._buffer.end - segmenter._buffer.base)
    assert most < 90 * 16_000


# --- joining


def words(text: str, start_s: float = 0.0, step_s: float = 0.4) -> list[DecodedWord]:
    return [
        DecodedWord(word, start_s + i * step_s, start_s + (i + 0.9) * step_s, 0.9, 1)
        for i, word in enumerate(text.split())
    ]


def joined(left: list[DecodedWord], right: list[DecodedWord], right_offset_s: float, cut_s: float) -> str:
    keep, drop = join(place(left, 0.0), place(right, right_offset_s), cut_s)
    return " ".join(word.text for word in [*left[:keep], *right[drop:]])


def test_overlapping_words_are_said_once() -> None:
    left = words("a b c d e f g h")  # to 3.2 s
    right = words("f g h i j k")  # from 2.0 s
    assert joined(left, right, 2.0, 2.6) == "a b c d e f g h i j k"


def test_case_and_punctuation_do_not_hide_a_match() -> None:
    assert joined(words("a b c d."), words("D e"), 1.2, 1.4) == "a b c d. e"


def test_words_cut_in_two_at_the_edges_are_dropped() -> None:
    left = words("a b c d e f gar")  # the edge cut its last word
    right = words("bage d e f garden h", start_s=-0.05)
    assert joined(left, right, 0.8, 1.8) == "a b c d e f garden h"


def test_without_a_common_word_each_keeps_its_side() -> None:
    left, right = words("a b c d"), words("x y z")
    assert joined(left, right, 0.8, 1.2) == "a b c y z"


def test_a_repeated_word_is_matched_where_it_stands() -> None:
    left = words("no no no yes no")
    right = words("no yes no well")
    assert joined(left, right, 0.8, 1.4) == "no no no yes no well"


def test_nothing_on_one_side_keeps_the_other() -> None:
    assert joined([], words("x y"), 0.0, 0.0) == "x y"
    assert joined(words("a b"), [], 1.0, 5.0) == "a b"


# --- a model that stops early


def test_halves_hold_the_segment_and_meet_in_its_pause() -> None:
    (segment,) = segments("s6 .0.5 s6")
    first, second = segment.halves()
    assert np.array_equal(np.concatenate((first.pcm, second.pcm)), segment.pcm)
    assert (first.start, first.end, second.end) == (segment.start, second.start, segment.end)
    assert seconds(first)[1] == pytest.approx(6.25, abs=0.2)
    assert (first.low, second.high) == (segment.low, segment.high)
    assert not first.overlaps_next and not second.overlaps_previous


@pytest.mark.parametrize(
    ("text", "voiced_ms", "early"),
    [
        ("Anon.", 20_000, True),
        ("", 10_000, True),
        ("Now, as Polly was by no means a perfect creature, I am free to confess", 6_000, False),
        ("Well", 1_500, False),
        ("今日は天気がいいですね", 5_000, False),
    ],
)
def test_too_little_text_for_so_much_voice_is_noticed(text: str, voiced_ms: int, early: bool) -> None:
    assert stopped_early(DecodeResult(text=text), Heard(voiced_ms, voiced_ms + 500)) is early


def test_a_word_that_covers_what_was_left_out_does_not_hide_it() -> None:
    times = {"he": (0.4, 0.8), "said": (1.0, 9.0), "so": (9.1, 9.5)}
    heard = [DecodedWord(text, begin, end, 0.9, 1) for text, (begin, end) in times.items()]
    assert longest_wordless_s(heard, 10.0) == pytest.approx(8.1)
    assert longest_wordless_s(heard[:1], 10.0) == pytest.approx(9.6)
    assert longest_wordless_s([], 3.0) == pytest.approx(3.0)

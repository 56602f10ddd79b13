"""What the live benchmark makes of the moments at which answers arrive."""

import pytest

from bench import stream_player as player
from bench.asr_stream import lag_growth, playlist
from bench.stream_player import Clip, Played
from common.pb.voxmesh.asr import v1 as pb

CLIP = Clip(
    "clip", b"", "en", "one two three", words=[("One", 500, 700), ("two,", 800, 1000), ("three.", 1100, 1400)]
)


def answer(text: str, committed: str = "", *, final: bool = False) -> pb.Result:
    return pb.Result(text=text, committed_chars=len(committed), is_final=final)


PLAYED = Played(
    CLIP,
    begin_ms=10_000,
    answers=[
        (11_000.0, answer("one")),
        (11_300.0, answer("one too", "one")),
        (11_600.0, answer("one two tree", "one two")),
        (12_050.0, answer("one two three", "one two three", final=True)),
    ],
)


def test_the_first_interim_counts_from_the_end_of_the_first_word() -> None:
    assert player.first_interim_ms(PLAYED) == pytest.approx(300)


def test_the_final_counts_from_the_end_of_speech_and_the_wait() -> None:
    assert player.final_ms(PLAYED, endpointing_ms=600) == pytest.approx(50)


def test_each_word_counts_from_its_own_end() -> None:
    assert player.commit_ms(PLAYED) == pytest.approx([600, 600, 650])


def test_words_taken_back_are_counted() -> None:
    assert player.unstable_words(PLAYED) == (2, 3)


def test_the_text_is_that_of_the_finals() -> None:
    assert player.final_text(PLAYED) == "one two three"


def test_without_answers_there_is_nothing_to_time() -> None:
    nothing = Played(CLIP, 0)
    assert player.first_interim_ms(nothing) is None
    assert player.final_ms(nothing, 600) is None
    assert player.commit_ms(nothing) == []


def test_lag_is_compared_between_plays_of_one_clip() -> None:
    slow_clips_last = [("a", n / 10, 0.0) for n in range(5)] + [("b", n / 10, 300.0) for n in range(5, 10)]
    assert lag_growth(slow_clips_last) == (0.0, 0.0)
    growing = [(clip, minutes, late_ms + 120 * minutes) for clip, minutes, late_ms in slow_clips_last]
    assert lag_growth(growing) == (120.0, 0.0)


def test_the_growth_of_lag_says_how_sure_it_is() -> None:
    jitter = (40.0, -40.0, -40.0, 40.0)
    short = [("a", n / 4, jitter[n % 4]) for n in range(8)]
    longer = [("a", n / 4, jitter[n % 4]) for n in range(40)]
    assert (lag_growth(longer)[1] or 0) < (lag_growth(short)[1] or 0) / 5
    assert lag_growth([("a", 0.0, 10.0), ("b", 0.5, 90.0)]) == (0.0, None)
    assert lag_growth([]) == (0.0, None)


def test_a_stream_plays_the_list_round_from_its_own_beginning() -> None:
    clips = [Clip(str(n), bytes(32_000 * 2), "en", "") for n in range(5)]  # 2 s and their silence
    assert [clip.name for clip in playlist(clips, 3, 12.0)] == ["3", "4", "0", "1"]

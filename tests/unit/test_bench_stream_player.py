"""What the live benchmark makes of the moments at which answers arrive."""

import pytest

from bench import stream_player as player
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

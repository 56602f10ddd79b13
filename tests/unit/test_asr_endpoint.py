"""Where speech begins, pauses and ends."""

import pytest

from asr.voice.endpoint import EndpointConfig, Endpointer, Kind
from asr.voice.vad import CHUNK_MS, CHUNK_SAMPLES


def run(config: EndpointConfig, timeline: str) -> list[tuple[str, int]]:
    """Pushes one chunk per letter (s speech, ~ in between, . silence); signals with their chunk number."""
    endpointer = Endpointer(config)
    probability = {"s": 0.9, "~": 0.42, ".": 0.02}
    return [
        (signal.kind.name, signal.at // CHUNK_SAMPLES)
        for letter in timeline
        for signal in endpointer.push(probability[letter])
    ]


def chunks(ms: int) -> int:
    return -(-ms // CHUNK_MS)


def test_speech_starts_where_the_first_voiced_chunk_lies() -> None:
    assert run(EndpointConfig(), "..sss") == [("STARTED", 2)]


def test_one_voiced_chunk_is_a_click() -> None:
    assert run(EndpointConfig(), "..s....s....s...") == []


def test_a_hesitant_beginning_counts_from_its_first_chunk() -> None:
    assert run(EndpointConfig(), ".s.s") == [("STARTED", 1)]


def test_silence_pauses_then_ends_speech() -> None:
    silence = "." * chunks(600)
    assert run(EndpointConfig(endpointing_ms=600), "sss" + silence) == [
        ("STARTED", 0),
        ("PAUSED", 3),
        ("ENDPOINT", 3),
    ]


def test_the_endpoint_waits_for_all_of_its_silence() -> None:
    silence = "." * (chunks(600) - 1)
    assert ("ENDPOINT", 3) not in run(EndpointConfig(endpointing_ms=600), "sss" + silence)


def test_a_stop_consonant_does_not_end_speech() -> None:
    signals = run(EndpointConfig(endpointing_ms=10), "sss..sss")
    assert signals == [("STARTED", 0)]


def test_a_short_endpointing_still_waits_out_a_consonant() -> None:
    signals = run(EndpointConfig(endpointing_ms=10), "sss....")
    assert signals == [("STARTED", 0), ("PAUSED", 3), ("ENDPOINT", 3)]


def test_probabilities_between_the_thresholds_keep_speech_going() -> None:
    assert run(EndpointConfig(endpointing_ms=300), "sss" + "~" * 40) == [("STARTED", 0)]


def test_speech_after_a_pause_starts_again() -> None:
    pause = "." * chunks(300)
    assert [kind for kind, _ in run(EndpointConfig(), "sss" + pause + "sss")] == [
        "STARTED",
        "PAUSED",
        "STARTED",
    ]


def test_the_utterance_ends_once_after_its_silence() -> None:
    signals = run(EndpointConfig(endpointing_ms=300, utterance_end_ms=1000), "sss" + "." * 100)
    assert [kind for kind, _ in signals] == ["STARTED", "PAUSED", "ENDPOINT", "UTTERANCE_END"]


def test_the_utterance_may_end_before_the_endpoint() -> None:
    signals = run(EndpointConfig(endpointing_ms=2000, utterance_end_ms=500), "sss" + "." * 100)
    assert [kind for kind, _ in signals] == ["STARTED", "PAUSED", "UTTERANCE_END", "ENDPOINT"]


def test_a_reset_forgets_speech_and_keeps_the_clock() -> None:
    endpointer = Endpointer(EndpointConfig())
    for _ in range(5):
        endpointer.push(0.9)
    endpointer.reset()
    assert not endpointer.speaking
    assert [endpointer.push(0.9), endpointer.push(0.9)[0].at] == [[], 5 * CHUNK_SAMPLES]


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.8])
def test_the_threshold_decides_what_is_speech(threshold: float) -> None:
    endpointer = Endpointer(EndpointConfig(threshold=threshold))
    below = [endpointer.push(threshold - 0.01) for _ in range(5)]
    above = [endpointer.push(threshold + 0.01) for _ in range(2)]
    assert not any(below)
    assert above[1][0].kind is Kind.STARTED

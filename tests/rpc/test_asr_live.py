"""Live recognition over a real gRPC server, with a scripted recogniser behind it."""

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest

from common.errors import InvalidArgument, Unavailable
from common.pb.voxmesh.asr import v1 as pb
from common.pb.voxmesh.audio.v1 import AudioFormat, Encoding
from tests.conftest import ServeRpc
from tests.fakes.recogniser import FakeRecogniser, Spoken, audio, pcm16, script
from tests.rpc.asr_rig import (
    FLUSH,
    SENTENCE,
    Start,
    chunks,
    config,
    finals,
    interims,
    kinds,
    spoken,
    starter,
    text,
)


@pytest.fixture
def start(serve_rpc: ServeRpc) -> Start:
    return starter(serve_rpc)


# --- live


async def test_interims_come_while_it_plays_and_keep_their_promise(start: Start) -> None:
    words = script("one two three four five six seven eight nine ten")
    rig = await start(words)
    responses = await rig.ask(config(interim_results=True), *chunks(spoken(words, 5000), ms=50), pace_s=0.02)
    shown = interims(responses)
    assert len(shown) >= 4
    committed = ""
    for result in [*shown, *finals(responses)]:
        assert result.text.startswith(committed)
        committed = result.text[: result.committed_chars]
    assert text(responses) == "one two three four five six seven eight nine ten"


async def test_interims_only_when_asked_for(start: Start) -> None:
    words = script(SENTENCE)
    rig = await start(words)
    responses = await rig.ask(config(), *chunks(spoken(words, 4000)), pace_s=0.01)
    assert interims(responses) == []


async def test_the_last_words_come_wherever_the_audio_ends(start: Start) -> None:
    words = script(SENTENCE)
    rig = await start(words)
    pcm = spoken(words)
    for end in range(24_000, len(pcm) + 1, 9_000):
        heard = [word.text for word in words if word.end_ms * 32 <= end]
        responses = await rig.ask(config(), *chunks(pcm[:end]))
        assert text(responses).split()[: len(heard)] == heard, end
        assert kinds(responses)[-1] == "summary"


async def test_a_flush_answers_and_the_stream_goes_on(start: Start) -> None:
    words = script(SENTENCE)
    rig = await start(words)
    pcm = spoken(words, 4000)
    cut = words[2].end_ms * 32
    responses = await rig.ask(config(), *chunks(pcm[:cut]), FLUSH, *chunks(pcm[cut:]))
    results = finals(responses)
    assert [(result.text, result.from_flush) for result in results] == [
        ("one two three", True),
        ("four five six", False),
    ]


async def test_two_flushes_in_a_row_answer_twice(start: Start) -> None:
    words = script("one two")
    rig = await start(words)
    responses = await rig.ask(config(), *chunks(spoken(words)), FLUSH, FLUSH)
    assert [(r.text, r.from_flush) for r in finals(responses)] == [("one two", True), ("", True)]


async def test_a_flush_before_any_audio_answers_empty(start: Start) -> None:
    rig = await start()
    responses = await rig.ask(config(), FLUSH)
    assert [(r.text, r.from_flush) for r in finals(responses)] == [("", True)]


async def test_no_audio_is_an_empty_stream(start: Start) -> None:
    rig = await start()
    for mode in (pb.Mode.STREAMING, pb.Mode.BATCH):
        responses = await rig.ask(config(mode=mode))
        assert kinds(responses) == ["started", "summary"]
        assert responses[-1].summary.audio_ms == 0


async def test_zeros_and_odd_bytes_give_no_text(start: Start) -> None:
    rig = await start()
    for mode in (pb.Mode.STREAMING, pb.Mode.BATCH):
        responses = await rig.ask(
            config(mode=mode), *chunks(b"\0" * 320_001), pb.RecognizeRequest(audio=b""),
        )  # fmt: skip
        assert kinds(responses) == ["started", "summary"]
        assert responses[-1].summary.audio_ms == 10_000
    assert rig.recogniser.requests == []


async def test_voice_events_and_the_end_of_the_utterance(start: Start) -> None:
    words = script("one two")
    rig = await start(words)
    responses = await rig.ask(config(vad_events=True, utterance_end_ms=1000), *chunks(spoken(words, 4000)))
    assert kinds(responses) == [
        "started", "speech_started", "speech_ended", "result", "utterance_end", "summary",
    ]  # fmt: skip
    assert abs(responses[1].speech_started.at_ms - 500) <= 32
    assert responses[4].utterance_end.last_word_end_ms == responses[3].result.end_ms


async def test_words_carry_times_in_order(start: Start) -> None:
    words = script(SENTENCE)
    rig = await start(words)
    for mode in (pb.Mode.STREAMING, pb.Mode.BATCH):
        responses = await rig.ask(
            config(word_times=True, offset_ms=10_000, mode=mode), *chunks(spoken(words, 4000))
        )
        got = [word for result in finals(responses) for word in result.words]
        assert [word.text for word in got] == SENTENCE.split()
        for word, wanted in zip(got, words, strict=True):
            assert abs(word.start_ms - 10_000 - wanted.start_ms) <= 40
            assert abs(word.end_ms - 10_000 - wanted.end_ms) <= 40
            assert word.confidence > 0


async def test_text_switches(start: Start) -> None:
    words = script("Hello, World! Damn SHIT, it's 3.5 o'clock.")
    rig = await start(words)
    responses = await rig.ask(
        config(no_punctuation=True, no_capitalization=True, profanity_filter=True, word_times=True),
        *chunks(spoken(words, 5000)),
    )
    assert text(responses) == "hello world damn s*** it's 3.5 o'clock"
    assert [w.text for w in finals(responses)[0].words] == text(responses).split()


async def test_decoder_options_reach_the_engine(start: Start) -> None:
    words = script("one two")
    rig = await start(words)
    await rig.ask(
        config(
            task=pb.Task.TRANSLATE, beam_size=3, temperature=0.5, prompt="alpha beta", language="de-AT",
            keyterms=[pb.Keyterm(phrase=" big  name "), pb.Keyterm(phrase="x", weight=-3.0)],
        ),
        *chunks(spoken(words, 2500)),
    )  # fmt: skip
    request = rig.recogniser.requests[-1]
    assert (request.task, request.beam_size, request.temperature) == ("translate", 3, 0.5)
    assert request.language == "de"
    assert [(term.phrase, term.weight) for term in request.keyterms] == [("big name", 2.0), ("x", -3.0)]
    assert rig.recogniser.decode_tokens(request.context) == " alpha beta"


async def test_a_detected_language_is_reported(start: Start) -> None:
    words = script(" ".join(f"w{i}" for i in range(12)))
    rig = await start(recogniser=FakeRecogniser(words, language="de"))
    for mode in (pb.Mode.STREAMING, pb.Mode.BATCH):
        responses = await rig.ask(config(language="", mode=mode), *chunks(spoken(words, 6000)))
        assert {result.language for result in finals(responses)} == {"de"}
        summary = responses[-1].summary
        assert summary.language == "de"
        assert summary.language_confidence == pytest.approx(0.9)


@pytest.mark.parametrize("rate", [8_000, 22_050, 48_000])
async def test_other_sample_rates_are_resampled(start: Start, rate: int) -> None:
    rig = await start([])
    seconds = 2
    request = config(format=AudioFormat(encoding=Encoding.PCM_S16LE, sample_rate_hz=rate))
    responses = await rig.ask(request, *chunks(b"\0\0" * rate * seconds))
    assert abs(responses[-1].summary.audio_ms - 1000 * seconds) <= 20


async def test_channels_are_recognised_on_their_own(start: Start) -> None:
    words = [Spoken("left", 500, 900), Spoken("right", 2000, 2400)]
    silent = Spoken("", 0, 0)
    left, right = audio([words[0]], total_ms=4000), audio([silent, words[1]], total_ms=4000)
    interleaved = pcm16(np.stack((left, right), axis=1).reshape(-1))
    stereo = AudioFormat(encoding=Encoding.PCM_S16LE, sample_rate_hz=16_000, channels=2)
    rig = await start(words)
    for mode in (pb.Mode.STREAMING, pb.Mode.BATCH):
        responses = await rig.ask(config(format=stereo, multichannel=True, mode=mode), *chunks(interleaved))
        assert sorted((r.channel, r.text) for r in finals(responses)) == [(0, "left"), (1, "right")]
        assert responses[-1].summary.channels == 2
        assert responses[-1].summary.audio_ms == 4000


async def test_channels_are_mixed_otherwise(start: Start) -> None:
    stereo = AudioFormat(encoding=Encoding.PCM_S16LE, sample_rate_hz=16_000, channels=2)
    rig = await start([])
    responses = await rig.ask(config(format=stereo), *chunks(b"\0" * 64_000 * 2))
    assert responses[-1].summary.audio_ms == 2000
    assert responses[-1].summary.channels == 2


async def test_heartbeats_fill_the_silence_and_only_that(start: Start) -> None:
    rig = await start(script(SENTENCE))
    pieces = chunks(spoken(script(SENTENCE)))
    request = config(mode=pb.Mode.STREAMING, interim_results=True, heartbeat_ms=200)
    said = await rig.ask(request, *pieces, pace_s=0.02)
    assert said[0].started is not None and said[0].started.heartbeat_ms == 200
    assert text(said) == SENTENCE
    silent = await rig.ask(request, *chunks(bytes(64_000)), pace_s=0.05)
    assert 3 <= sum(one.heartbeat is not None for one in silent) <= 6  # of a second
    none = await rig.ask(config(mode=pb.Mode.STREAMING), *chunks(bytes(16_000)), pace_s=0.05)
    assert all(one.heartbeat is None for one in none)


async def test_a_stalled_engine_ends_the_stream(start: Start) -> None:
    words = script(SENTENCE)
    gate = asyncio.Event()
    rig = await start(words, recogniser=FakeRecogniser(words, gate=gate))

    async def talk() -> AsyncIterator[pb.RecognizeRequest]:
        yield config(mode=pb.Mode.STREAMING, heartbeat_ms=200)
        for piece in chunks(spoken(words)):
            yield piece
        rig.recogniser.healthy = False
        await gate.wait()  # the caller goes on listening

    with pytest.raises(Unavailable, match="stalled"):
        async with asyncio.timeout(5):
            async for _ in rig.client.recognize(talk()):
                pass
    assert rig.checkpoint.taken == 0


@pytest.mark.parametrize("beat_ms", [1, 99, 10**6])
async def test_heartbeats_are_not_for_playing_with(start: Start, beat_ms: int) -> None:
    rig = await start()
    with pytest.raises(InvalidArgument, match="heartbeat_ms"):
        await rig.ask(config(heartbeat_ms=beat_ms))

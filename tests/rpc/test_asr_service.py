"""The recogniser's service over a real gRPC server in this process, with a scripted recogniser behind it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from asr.checkpoints import Checkpoint, Checkpoints
from asr.model import DecodeRequest, DecodeResult
from asr.service import AsrService
from asr.settings import AsrSettings
from common.clients import AsrClient
from common.errors import (
    AtCapacity,
    InvalidArgument,
    MissingParameter,
    NotFound,
    Unavailable,
    UnsupportedFormat,
    VoxmeshError,
)
from common.pb.voxmesh.asr import v1 as pb
from common.pb.voxmesh.audio.v1 import AudioFormat, Encoding
from tests.conftest import ServeRpc
from tests.fakes.recogniser import FakeRecogniser, FakeVoiceActivity, Spoken, audio, pcm16, script

RAW = AudioFormat(encoding=Encoding.PCM_S16LE, sample_rate_hz=16_000, channels=1)
FLUSH = pb.RecognizeRequest(flush=pb.Flush())
SENTENCE = "one two three four five six"


@dataclass
class Rig:
    """A served recogniser."""

    client: AsrClient
    recogniser: FakeRecogniser
    checkpoint: Checkpoint

    async def ask(self, *requests: pb.RecognizeRequest, pace_s: float = 0.0) -> list[pb.RecognizeResponse]:
        async def feed() -> AsyncIterator[pb.RecognizeRequest]:
            for request in requests:
                yield request
                if pace_s:
                    await asyncio.sleep(pace_s)

        return [response async for response in self.client.recognize(feed(), timeout=20)]


Start = Callable[..., Any]


@pytest.fixture
async def start(serve_rpc: ServeRpc) -> Start:
    async def begin(
        words: list[Spoken] | None = None, *, places: int = 4, settings: dict[str, Any] | None = None,
        recogniser: FakeRecogniser | None = None,
    ) -> Rig:  # fmt: skip
        recogniser = recogniser or FakeRecogniser(words or [])
        checkpoint = Checkpoint(recogniser, places)
        service = AsrService(Checkpoints([checkpoint]), FakeVoiceActivity(), AsrSettings(**(settings or {})))
        return Rig(AsrClient(await serve_rpc(service)), recogniser, checkpoint)

    return begin


def config(**fields: Any) -> pb.RecognizeRequest:
    fields.setdefault("format", RAW)
    fields.setdefault("language", "en")
    return pb.RecognizeRequest(config=pb.RecognizeConfig(**fields))


def chunks(pcm: bytes, ms: int = 100) -> list[pb.RecognizeRequest]:
    step = ms * 32
    return [pb.RecognizeRequest(audio=pcm[i : i + step]) for i in range(0, len(pcm), step)]


def spoken(words: list[Spoken], total_ms: int | None = None) -> bytes:
    return pcm16(audio(words, total_ms=total_ms))


def finals(responses: list[pb.RecognizeResponse]) -> list[pb.Result]:
    return [r.result for r in responses if r.result is not None and r.result.is_final]


def interims(responses: list[pb.RecognizeResponse]) -> list[pb.Result]:
    return [r.result for r in responses if r.result is not None and not r.result.is_final]


def text(responses: list[pb.RecognizeResponse]) -> str:
    return " ".join(result.text for result in finals(responses) if result.text)


def kinds(responses: list[pb.RecognizeResponse]) -> list[str]:
    names = ("started", "result", "speech_started", "speech_ended", "utterance_end", "progress", "summary")
    return [next(name for name in names if getattr(r, name) is not None) for r in responses]


# --- the first message


async def test_a_stream_starts_gives_results_and_sums_up(start: Start) -> None:
    words = script(SENTENCE)
    rig = await start(words)
    responses = await rig.ask(config(), *chunks(spoken(words, 4000)))
    assert kinds(responses) == ["started", "result", "summary"]
    assert responses[0].started.model == "fake"
    assert text(responses) == SENTENCE
    summary = responses[-1].summary
    assert (summary.audio_ms, summary.language, summary.channels) == (4000, "en", 1)
    assert summary.compute_ms > 0


@pytest.mark.parametrize(
    ("first", "error"),
    [
        (pb.RecognizeRequest(audio=b"\0\0"), MissingParameter),
        (FLUSH, MissingParameter),
        (pb.RecognizeRequest(), MissingParameter),
        (pb.RecognizeRequest(config=pb.RecognizeConfig(format=RAW), audio=b"\0\0"), InvalidArgument),
        (config(format=AudioFormat(encoding=Encoding.PCM_S16LE)), InvalidArgument),
        (config(format=AudioFormat(encoding=Encoding.PCM_S16LE, sample_rate_hz=7)), InvalidArgument),
        (config(format=AudioFormat(encoding=99)), InvalidArgument),  # type: ignore[arg-type]
        (config(mode=7), InvalidArgument),
        (config(task=9), InvalidArgument),
        (config(language="klingon!"), InvalidArgument),
        (config(language="xx"), InvalidArgument),
        (config(model="nobody"), NotFound),
        (config(endpointing_ms=70_000), InvalidArgument),
        (config(utterance_end_ms=0), InvalidArgument),
        (config(max_words=20_000), InvalidArgument),
        (config(vad_threshold=1.5), InvalidArgument),
        (config(vad_threshold=-0.5), InvalidArgument),
        (config(temperature=2.0), InvalidArgument),
        (config(temperature=float("nan")), InvalidArgument),
        (config(beam_size=100), InvalidArgument),
        (config(keyterms=[pb.Keyterm(phrase="")]), InvalidArgument),
        (config(keyterms=[pb.Keyterm(phrase="x", weight=1000.0)]), InvalidArgument),
        (config(keyterms=[pb.Keyterm(phrase="x")] * 2000), InvalidArgument),
        (config(prompt="x" * 20_000), InvalidArgument),
        (config(num_speakers=1000), InvalidArgument),
    ],
)
async def test_a_bad_first_message_is_refused_with_its_reason(
    start: Start, first: pb.RecognizeRequest, error: type[VoxmeshError]
) -> None:
    rig = await start()
    with pytest.raises(error) as caught:
        await rig.ask(first)
    assert caught.value.message
    assert rig.checkpoint.taken == 0


async def test_no_message_at_all_is_refused(start: Start) -> None:
    rig = await start()
    with pytest.raises(MissingParameter):
        await rig.ask()


@pytest.mark.parametrize(
    "later",
    [
        config(),
        pb.RecognizeRequest(),
        pb.RecognizeRequest(audio=b"\0" * ((1 << 20) + 1)),
        pb.RecognizeRequest(audio=b"\0\0", flush=pb.Flush()),
    ],
)
@pytest.mark.parametrize("mode", [pb.Mode.STREAMING, pb.Mode.BATCH])
async def test_a_bad_later_message_ends_the_stream(
    start: Start, later: pb.RecognizeRequest, mode: pb.Mode
) -> None:
    rig = await start()
    with pytest.raises(InvalidArgument):
        await rig.ask(config(mode=mode), later)
    assert rig.checkpoint.taken == 0


async def test_garbage_in_place_of_audio_is_refused(start: Start) -> None:
    rig = await start()
    request = config(format=AudioFormat(), mode=pb.Mode.BATCH)
    with pytest.raises(UnsupportedFormat):
        await rig.ask(request, pb.RecognizeRequest(audio=b"this is no audio at all " * 50))


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


# --- places, cancellation, failure


async def test_a_full_worker_says_when_to_come_back(start: Start) -> None:
    rig = await start(places=1)
    begun, release = asyncio.Event(), asyncio.Event()

    async def hold() -> AsyncIterator[pb.RecognizeRequest]:
        yield config()
        begun.set()
        await release.wait()

    async def first() -> list[pb.RecognizeResponse]:
        return [response async for response in rig.client.recognize(hold(), timeout=20)]

    holder = asyncio.create_task(first())
    await begun.wait()
    await asyncio.sleep(0.05)
    with pytest.raises(AtCapacity) as caught:
        await rig.ask(config())
    assert caught.value.retry_after_s
    release.set()
    await holder
    assert kinds(await rig.ask(config())) == ["started", "summary"]


async def test_a_channel_takes_a_place(start: Start) -> None:
    rig = await start(places=1)
    stereo = AudioFormat(encoding=Encoding.PCM_S16LE, sample_rate_hz=16_000, channels=2)
    with pytest.raises(AtCapacity):
        await rig.ask(config(format=stereo, multichannel=True))


@pytest.mark.parametrize("mode", [pb.Mode.STREAMING, pb.Mode.BATCH])
async def test_a_caller_who_goes_frees_the_place_and_the_decode(start: Start, mode: pb.Mode) -> None:
    words = script(SENTENCE)
    rig = await start(recogniser=FakeRecogniser(words, gate=asyncio.Event()))

    async def endless() -> AsyncIterator[pb.RecognizeRequest]:
        yield config(mode=mode, endpointing_ms=100)
        for request in chunks(spoken(words, 20_000)):
            yield request
        await asyncio.sleep(30)

    async with aclosing(rig.client.recognize(endless(), timeout=20)) as responses:
        async for _ in responses:
            while not rig.recogniser.active:
                await asyncio.sleep(0.01)
            break
    for _ in range(100):
        if not rig.checkpoint.taken and not rig.recogniser.active:
            break
        await asyncio.sleep(0.02)
    assert rig.checkpoint.taken == 0
    assert rig.recogniser.active == 0
    assert rig.recogniser.cancelled >= 1


@pytest.mark.parametrize("mode", [pb.Mode.STREAMING, pb.Mode.BATCH])
async def test_an_engine_that_stops_ends_the_stream(start: Start, mode: pb.Mode) -> None:
    words = script(SENTENCE)
    rig = await start(recogniser=FakeRecogniser(words, error=Unavailable("the engine has stopped")))
    with pytest.raises(Unavailable):
        await rig.ask(config(mode=mode), *chunks(spoken(words, 4000)))
    assert rig.checkpoint.taken == 0


@pytest.mark.parametrize("mode", [pb.Mode.STREAMING, pb.Mode.BATCH])
async def test_a_busy_engine_delays_words_and_loses_none(start: Start, mode: pb.Mode) -> None:
    words = script(SENTENCE)
    recogniser = FakeRecogniser(words, error=AtCapacity("the queue is full", retry_after_s=0.05))
    rig = await start(recogniser=recogniser)

    async def recover() -> None:
        await asyncio.sleep(0.3)
        recogniser.error = None

    recovery = asyncio.create_task(recover())
    assert text(await rig.ask(config(mode=mode), *chunks(spoken(words, 4000)))) == SENTENCE
    await recovery


async def test_a_stalled_engine_takes_no_stream(start: Start) -> None:
    rig = await start(recogniser=FakeRecogniser(healthy=False))
    with pytest.raises(Unavailable):
        await rig.ask(config())


async def test_audio_waits_at_the_caller_while_the_engine_is_behind(start: Start) -> None:
    rig = await start(recogniser=FakeRecogniser(gate=asyncio.Event()), settings={"backlog_ms": 35_000})
    minute = pcm16(np.full(60 * 16_000, 0.5, np.float32))
    sent_s = 0

    async def feed() -> AsyncIterator[pb.RecognizeRequest]:
        nonlocal sent_s
        yield config()
        for _ in range(20):
            for request in chunks(minute, ms=1000):
                yield request
                sent_s += 1

    async def ask() -> None:
        _ = [response async for response in rig.client.recognize(feed(), timeout=20)]

    asked = asyncio.create_task(ask())
    await asyncio.sleep(1.5)
    held_at_s = sent_s
    await asyncio.sleep(0.5)
    assert sent_s == held_at_s < 600  # of 1200: 35 s wait in the service, the rest in windows and buffers
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked


async def test_a_stream_that_stays_behind_is_ended(start: Start) -> None:
    words = script(" ".join(f"w{i}" for i in range(300)))
    rig = await start(
        recogniser=FakeRecogniser(words, gate=asyncio.Event()),
        settings={"backlog_ms": 35_000, "backlog_patience_s": 0.3},
    )
    with pytest.raises(AtCapacity):
        await rig.ask(config(), *chunks(spoken(words), ms=1000))
    assert rig.checkpoint.taken == 0


# --- batch


async def test_a_recording_is_recognised_whole(start: Start) -> None:
    words = script(" ".join(f"w{i}" for i in range(500)) + " [3000] last words")
    rig = await start(words)
    responses = await rig.ask(config(mode=pb.Mode.BATCH, word_times=True), *chunks(spoken(words), ms=5000))
    assert text(responses).split() == [word.text for word in words]
    starts = [result.start_ms for result in finals(responses)]
    assert starts == sorted(starts)
    assert max(len(request.pcm) for request in rig.recogniser.requests) <= 30 * 16_000
    assert rig.recogniser.most_active > 1


async def test_a_batch_says_nothing_before_the_end_but_progress(start: Start) -> None:
    words = script(" ".join(f"w{i}" for i in range(500)))
    rig = await start(words)
    responses = await rig.ask(
        config(mode=pb.Mode.BATCH, progress=True), *chunks(spoken(words), ms=5000), pace_s=0.005
    )
    names = kinds(responses)
    assert "progress" in names
    assert names.index("result") > len(names) - 1 - names[::-1].index("progress")
    done = [r.progress.done_ms for r in responses if r.progress is not None]
    assert done == sorted(done)
    last = [r.progress for r in responses if r.progress is not None][-1]
    assert last.done_ms == last.total_ms == responses[-1].summary.audio_ms


class Hasty(FakeRecogniser):
    """Takes a long window for finished after its first word."""

    def read(self, request: DecodeRequest) -> DecodeResult:
        result = super().read(request)
        if len(request.pcm) > 12 * 16_000:
            result.tokens, result.words = result.tokens[:1], result.words[:1]
            result.text = self.decode_tokens(result.tokens).strip()
        return result


async def test_a_segment_that_the_model_ends_early_is_recognised_in_halves(start: Start) -> None:
    words = script(" ".join(f"number{i}" for i in range(100)), word_ms=220)
    rig = await start(recogniser=Hasty(words))
    responses = await rig.ask(config(mode=pb.Mode.BATCH), *chunks(spoken(words), ms=5000))
    whole = [word for word in text(responses).split() if not word.endswith("-")]
    assert len(whole) >= 95
    assert whole == sorted(whole, key=lambda word: int(word.removeprefix("number")))


async def test_previous_text_makes_segments_sequential(start: Start) -> None:
    words = script(" ".join(f"w{i}" for i in range(300)))
    rig = await start(words, settings={"previous_text": True})
    responses = await rig.ask(config(mode=pb.Mode.BATCH, language=""), *chunks(spoken(words), ms=5000))
    assert text(responses).split() == [word.text for word in words]
    assert rig.recogniser.most_active == 1
    assert rig.recogniser.requests[-1].context


# --- models


async def test_models_are_listed(start: Start) -> None:
    rig = await start()
    answer = await rig.client.list_models(pb.ListModelsRequest())
    assert [(m.name, m.languages, m.capacity, m.device) for m in answer.models] == [
        ("fake", ["en", "de"], 4, "cpu")
    ]


async def test_requests_go_to_the_checkpoint_of_their_language(serve_rpc: ServeRpc) -> None:
    many = FakeRecogniser(name="many", languages=("en", "de", "fr"))
    english = FakeRecogniser(name="english", languages=("en",))
    service = AsrService(
        Checkpoints([Checkpoint(many, 4), Checkpoint(english, 4)]), FakeVoiceActivity(), AsrSettings()
    )
    rig = Rig(AsrClient(await serve_rpc(service)), many, Checkpoint(many, 1))

    async def served_by(**fields: Any) -> str:
        responses = await rig.ask(config(**fields))
        assert responses[0].started is not None
        return responses[0].started.model

    assert await served_by(language="en-GB") == "english"
    assert await served_by(language="de") == "many"
    assert await served_by(language="") == "many"
    assert await served_by(model="english", language="") == "english"
    with pytest.raises(InvalidArgument):
        await served_by(model="english", language="de")


async def test_nothing_is_served_while_models_load(serve_rpc: ServeRpc) -> None:
    client = AsrClient(await serve_rpc(AsrService(Checkpoints(), FakeVoiceActivity(), AsrSettings())))

    async def feed() -> AsyncIterator[pb.RecognizeRequest]:
        yield config()

    with pytest.raises(Unavailable):
        _ = [response async for response in client.recognize(feed(), timeout=20)]

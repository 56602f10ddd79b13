"""What the recogniser's service accepts, refuses and lists, over a real gRPC server."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from asr.checkpoints import Checkpoint, Checkpoints
from asr.service import AsrService
from asr.settings import AsrSettings
from common.clients import AsrClient
from common.errors import (
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
from tests.fakes.recogniser import FakeRecogniser, FakeVoiceActivity, script
from tests.rpc.asr_rig import (
    FLUSH,
    RAW,
    SENTENCE,
    Rig,
    Start,
    chunks,
    config,
    kinds,
    spoken,
    starter,
    text,
)


@pytest.fixture
def start(serve_rpc: ServeRpc) -> Start:
    return starter(serve_rpc)


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

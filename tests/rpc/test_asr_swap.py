"""Other checkpoints in a running worker: no stream drops, nothing stays behind."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from asr.checkpoints import Checkpoints
from asr.model import Recogniser
from asr.service import AsrService
from asr.settings import AsrSettings
from asr.swap import Swap
from common.clients import AsrClient
from common.pb.voxmesh.asr import v1 as pb
from tests.conftest import ServeRpc
from tests.fakes.recogniser import FakeRecogniser, FakeVoiceActivity, script
from tests.rpc.asr_rig import SENTENCE, chunks, config, spoken, text

WORDS = script(SENTENCE)


@pytest.fixture
def names(tmp_path: Path) -> Path:
    path = tmp_path / "models"
    path.write_text("old\n", "utf-8")
    return path


async def until(what: str, check: object) -> None:
    assert callable(check)
    for _ in range(200):
        if check():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"not in time: {what}")


async def test_a_signal_brings_other_checkpoints_and_drops_no_stream(
    serve_rpc: ServeRpc, names: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asr.swap.DRAIN_POLL_S", 0.02)
    loaded: dict[str, FakeRecogniser] = {}

    async def load(spec: str) -> Recogniser:
        if spec == "broken":
            raise OSError("no such file")
        loaded[spec] = FakeRecogniser(WORDS, name=spec)
        return loaded[spec]

    settings, checkpoints = AsrSettings(ASR_MODEL_FILE=names), Checkpoints()
    swap = Swap(settings, checkpoints, load)
    swap.follow_signals()
    await swap.load()
    client = AsrClient(await serve_rpc(AsrService(checkpoints, FakeVoiceActivity(), settings)))
    running = asyncio.create_task(swap.run())
    go_on = asyncio.Event()

    async def talk() -> AsyncIterator[pb.RecognizeRequest]:
        yield config()
        sound = chunks(spoken(WORDS, 4000))
        yield sound[0]
        await go_on.wait()
        for part in sound[1:]:
            yield part

    async def listen() -> list[pb.RecognizeResponse]:
        return [response async for response in client.recognize(talk(), timeout=20)]

    def serves(name: str) -> bool:
        return [entry.recogniser.name for entry in checkpoints] == [name]

    stream = asyncio.create_task(listen())
    await until("the stream to begin", lambda: next(iter(checkpoints)).taken == 1)

    names.write_text("broken", "utf-8")
    os.kill(os.getpid(), signal.SIGHUP)
    await asyncio.sleep(0.1)
    assert serves("old")  # what cannot be loaded changes nothing

    names.write_text("new", "utf-8")
    os.kill(os.getpid(), signal.SIGHUP)
    await until("the new one to serve", lambda: serves("new"))
    assert not loaded["old"].closed
    go_on.set()
    responses = await stream
    assert responses[0] == pb.RecognizeResponse(started=pb.Started(model="old"))
    assert text(responses) == SENTENCE
    await until("the old one to go", lambda: loaded["old"].closed)

    async def brief() -> AsyncIterator[pb.RecognizeRequest]:
        yield config()

    answers = [response async for response in client.recognize(brief(), timeout=20)]
    assert answers[0] == pb.RecognizeResponse(started=pb.Started(model="new"))
    running.cancel()
    asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
    await swap.close()
    assert loaded["new"].closed


async def test_a_file_that_names_too_many_is_refused(names: Path) -> None:
    names.write_text("a,b,c,d", "utf-8")

    async def load(spec: str) -> Recogniser:
        return FakeRecogniser(name=spec)

    with pytest.raises(ValueError, match="1 to 3"):
        await Swap(AsrSettings(ASR_MODEL_FILE=names), Checkpoints(), load).load()


async def test_a_swap_that_fails_half_way_keeps_nothing_in_memory(names: Path) -> None:
    names.write_text("good,broken", "utf-8")
    loaded: list[FakeRecogniser] = []

    async def load(spec: str) -> Recogniser:
        if spec == "broken":
            raise RuntimeError("broken")
        loaded.append(FakeRecogniser(name=spec))
        return loaded[-1]

    checkpoints = Checkpoints()
    with pytest.raises(RuntimeError):
        await Swap(AsrSettings(ASR_MODEL_FILE=names), checkpoints, load).load()
    assert [one.closed for one in loaded] == [True]
    assert list(checkpoints) == []

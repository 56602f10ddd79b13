"""Speakers on the words of finals, over a real gRPC server, with a scripted recogniser and scripted voices."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from asr.checkpoints import Checkpoint, Checkpoints
from asr.service import AsrService
from asr.settings import AsrSettings
from common.clients import AsrClient
from common.errors import InvalidArgument, Unavailable
from common.pb.voxmesh.asr import v1 as pb
from common.pb.voxmesh.audio.v1 import AudioFormat, Encoding
from tests.conftest import ServeRpc
from tests.fakes.recogniser import FakeRecogniser, FakeVoiceActivity, audio, pcm16, script
from tests.fakes.voices import FakeVoices

RAW = AudioFormat(encoding=Encoding.PCM_S16LE, sample_rate_hz=16_000, channels=1)
TALK = "a b c d e f g h [1500] i j k l m n o p [1500] q r s t u v w x"
FIRST = 8  # words of the first voice
MODES = [pb.Mode.BATCH, pb.Mode.STREAMING]


async def ask(
    serve_rpc: ServeRpc, voices: FakeVoices | None, *, flush: bool = False, talk: str = TALK, **fields: Any
) -> list[pb.Word]:
    """The words of all finals."""
    words = script(talk)
    checkpoint = Checkpoint(FakeRecogniser(words), 4)
    service = AsrService(Checkpoints([checkpoint]), FakeVoiceActivity(), AsrSettings(), voices)
    client = AsrClient(await serve_rpc(service))
    pcm = pcm16(audio(words, total_ms=words[-1].end_ms + (0 if flush else 1_000)))

    async def feed() -> AsyncIterator[pb.RecognizeRequest]:
        fields.setdefault("diarize", True)
        yield pb.RecognizeRequest(config=pb.RecognizeConfig(format=RAW, language="en", **fields))
        for at in range(0, len(pcm), 3_200):
            yield pb.RecognizeRequest(audio=pcm[at : at + 3_200])
        if flush:
            yield pb.RecognizeRequest(flush=pb.Flush())

    results = [answer.result async for answer in client.recognize(feed(), timeout=20) if answer.result]
    return [word for result in results if result.is_final for word in result.words]


@pytest.mark.parametrize("mode", MODES)
async def test_every_word_has_its_speaker(serve_rpc: ServeRpc, mode: pb.Mode) -> None:
    voices = FakeVoices(FIRST, delay_s=0.01)
    words = await ask(serve_rpc, voices, mode=mode)
    assert [word.text.strip() for word in words] == [part for part in TALK.split() if "[" not in part]
    assert [word.speaker for word in words] == [0] * FIRST + [1] * 16
    assert set(voices.live) == {mode is pb.Mode.STREAMING}


@pytest.mark.parametrize("mode", MODES)
async def test_times_follow_the_callers_clock(serve_rpc: ServeRpc, mode: pb.Mode) -> None:
    words = await ask(serve_rpc, FakeVoices(FIRST), mode=mode, offset_ms=1_000_000)
    assert [word.speaker for word in words] == [0] * FIRST + [1] * 16
    assert words[0].start_ms >= 1_000_000


@pytest.mark.parametrize("mode", MODES)
async def test_a_given_number_of_speakers_is_kept(serve_rpc: ServeRpc, mode: pb.Mode) -> None:
    words = await ask(serve_rpc, FakeVoices(FIRST), mode=mode, num_speakers=1)
    assert {word.speaker for word in words} == {0}


@pytest.mark.parametrize("mode", MODES)
async def test_nobody_asked_nothing_runs(serve_rpc: ServeRpc, mode: pb.Mode) -> None:
    voices = FakeVoices(FIRST)
    words = await ask(serve_rpc, voices, mode=mode, diarize=False, word_times=True)
    assert words and {word.speaker for word in words} == {None}
    assert not voices.opened and not voices.live


async def test_words_of_a_flush_have_speakers(serve_rpc: ServeRpc) -> None:
    words = await ask(serve_rpc, FakeVoices(FIRST), flush=True, mode=pb.Mode.STREAMING, talk="a b")
    assert [word.speaker for word in words] == [0, 0]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("voices", [FakeVoices(FIRST, broken=True), None])
async def test_without_an_encoder_the_call_is_refused(
    serve_rpc: ServeRpc, mode: pb.Mode, voices: FakeVoices | None
) -> None:
    with pytest.raises(Unavailable, match="speaker"):
        await ask(serve_rpc, voices, mode=mode)


async def test_too_many_speakers_are_refused(serve_rpc: ServeRpc) -> None:
    with pytest.raises(InvalidArgument, match="num_speakers"):
        await ask(serve_rpc, FakeVoices(FIRST), num_speakers=33)

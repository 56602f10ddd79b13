"""WS /v1/listen/stream: last words, recovery, bad input."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType

from common.codec.g711 import compress
from common.errors import AtCapacity, Unavailable
from common.pb.voxmesh.license.v1 import Kind
from tests.fakes.asr_servicer import WORD_BYTES, speech, text_of
from tests.fakes.edge_app import KEY, Edge, run_edge

PATH = "/v1/listen/stream"


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    async with run_edge() as running:
        yield running


async def everything(socket: ClientWebSocketResponse) -> list[dict[str, Any]]:
    """All messages until the server closes."""
    messages: list[dict[str, Any]] = []
    async with asyncio.timeout(20):
        async for frame in socket:
            assert frame.type == WSMsgType.TEXT, frame
            messages.append(json.loads(frame.data))
    return messages


def finals(messages: list[dict[str, Any]]) -> str:
    texts = [one["transcript"] for one in messages if one["type"] == "transcription" and one["is_final"]]
    return " ".join(text for text in texts if text)


async def send(socket: ClientWebSocketResponse, pcm: bytes, chunk: int = 1600, pause_s: float = 0.0) -> None:
    for at in range(0, len(pcm), chunk):
        await socket.send_bytes(pcm[at : at + chunk])
        if pause_s:
            await asyncio.sleep(pause_s)


async def say_and_close(
    edge: Edge, numbers: list[int], query: str = "", **options: Any
) -> list[dict[str, Any]]:
    async with edge.http.ws_connect(PATH + query, headers=KEY) as socket:
        await send(socket, speech(numbers), **options)
        await socket.send_json({"type": "close_stream"})
        messages = await everything(socket)
        assert socket.close_code == 1000
    return messages


async def test_words_come_while_speaking_and_the_last_is_marked(edge: Edge) -> None:
    messages = await say_and_close(edge, [1, 2, 0, 3, 4], "?word_timestamps=true&vad_events=true&language=en")
    assert finals(messages) == "w1 w2 w3 w4"
    interims = [
        one["transcript"] for one in messages if one["type"] == "transcription" and not one["is_final"]
    ]
    assert interims[:2] == ["w1", "w1 w2"]
    assert [one["is_last"] for one in messages if one.get("is_final")] == [False, True]
    first = next(one for one in messages if one.get("is_final"))
    assert (first["speech_final"], first["from_finalize"], first["language"]) == (True, False, "en")
    assert [word["start"] for word in first["words"]] == [0.0, 0.1]
    kinds = [one["type"] for one in messages if one["type"] != "transcription"]
    assert kinds == ["speech_started", "speech_ended", "speech_started"]
    ended = [one["type"] for one in messages].index("speech_ended")
    assert messages[ended - 1]["is_final"], "text after a pause would look like new speech"
    assert len({one["session_id"] for one in messages}) == 1
    await edge.until_closed(1)
    usage = edge.sessions.closed[0].usage
    assert usage is not None and (usage.audio_ms, usage.kind) == (500, Kind.LISTEN_STREAM)


async def test_finalize_keeps_the_socket_and_may_come_twice(edge: Edge) -> None:
    async with edge.http.ws_connect(PATH, headers=KEY) as socket:
        await send(socket, speech([1, 2]))
        await socket.send_json({"type": "finalize"})
        await socket.send_json({"type": "finalize"})
        seen: list[tuple[str, bool]] = []
        while len(seen) < 2:
            message = await socket.receive_json(timeout=5)
            if message["is_final"]:
                seen.append((message["transcript"], message["from_finalize"]))
        assert seen == [("w1 w2", True), ("", True)]
        await send(socket, speech([3]))
        await socket.send_json({"type": "keepalive"})
        await socket.send_json({"type": "end"})
        messages = await everything(socket)
        assert {"type": "pong"} in messages
        assert finals([one for one in messages if one["type"] != "pong"]) == "w3"


@pytest.mark.parametrize("ending", ["close_stream", "end", "flag", "close", "finalize then close"])
@pytest.mark.parametrize("cut", [50, 1600, WORD_BYTES - 2, WORD_BYTES, WORD_BYTES + 1])
async def test_last_words_are_delivered_however_it_ends(edge: Edge, ending: str, cut: int) -> None:
    pcm = speech([1, 2, 3]) + bytes(cut)
    async with edge.http.ws_connect(PATH, headers=KEY, autoclose=False) as socket:
        await send(socket, pcm, chunk=WORD_BYTES)
        if "finalize" in ending:
            await socket.send_json({"type": "finalize"})
        if ending.endswith("close"):
            await socket._writer.close(1000, b"")  # a closing frame; what is on its way still arrives
        else:
            await socket.send_json({"flag": "END"} if ending == "flag" else {"type": ending})
        assert finals(await everything(socket)) == "w1 w2 w3"


async def test_a_killed_worker_is_a_pause_and_no_word_is_lost_or_doubled(edge: Edge) -> None:
    numbers = [1, 2, 0, 3, 4, 5, 0, 0, 6, 7, 8, 0, 9, 10]
    edge.asr.die_at_word = {2, 4, 7, 10}
    messages = await say_and_close(edge, numbers, "?word_timestamps=true")
    assert finals(messages) == text_of(numbers)
    words = [word for one in messages if one.get("is_final") for word in one.get("words", [])]
    assert [word["start"] for word in words] == [at / 10 for at, number in enumerate(numbers) if number]
    assert len(edge.asr.configs) == 5
    assert [config.offset_ms for config in edge.asr.configs] == [0, 0, 300, 700, 1200]


@pytest.mark.parametrize("word", range(1, 9))
async def test_recovery_at_every_word(edge: Edge, word: int) -> None:
    numbers = [1, 2, 0, 3, 4, 0, 5, 6, 7, 0, 8]
    edge.asr.die_at_word = {word}
    async with edge.http.ws_connect(PATH, headers=KEY) as socket:
        await send(socket, speech(numbers[:6]))
        await socket.send_json({"type": "finalize"})
        await send(socket, speech(numbers[6:]))
        await socket.send_json({"type": "close_stream"})
        assert finals(await everything(socket)) == text_of(numbers)


async def test_services_killed_and_started_again(edge: Edge) -> None:
    numbers = list(range(1, 30))
    async with edge.http.ws_connect(PATH, headers=KEY) as socket:
        talking = asyncio.create_task(send(socket, speech(numbers), pause_s=0.02))
        await asyncio.sleep(0.3)
        await edge.kill_services()
        await asyncio.sleep(0.3)
        await edge.start_services()
        await talking
        await socket.send_json({"type": "close_stream"})
        assert finals(await everything(socket)) == text_of(numbers)


@pytest.mark.parametrize("word", [1, 2, 4, 6])
@pytest.mark.parametrize("goes_on", [False, True], ids=["the client has ended", "the client goes on"])
async def test_a_worker_that_hangs_is_left(word: int, goes_on: bool) -> None:
    numbers = [1, 2, 0, 3, 4, 0, 5, 6]
    async with run_edge(worker_silence_s=0.4) as edge:
        edge.asr.heartbeats, edge.asr.freeze_at_word, edge.asr.freeze_starts = True, {word}, 0
        async with edge.http.ws_connect(PATH, headers=KEY) as socket:
            await send(socket, speech(numbers))
            if goes_on:
                await asyncio.sleep(1.2)  # thrice the silence: the stream has moved, or it never will
                assert len(edge.asr.configs) == 2 and not edge.asr.frozen
                await send(socket, speech([0, 7]))
            await socket.send_json({"type": "close_stream"})
            assert finals(await everything(socket)) == text_of(numbers) + (" w7" if goes_on else "")
        assert len(edge.asr.configs) == 2


async def test_a_worker_that_does_not_take_the_stream_is_left() -> None:
    async with run_edge(worker_silence_s=0.4) as edge:
        edge.asr.freeze_starts = 2
        messages = await say_and_close(edge, [1, 2])
        assert finals(messages) == "w1 w2" and len(edge.asr.configs) == 3


async def test_silence_moves_nobody() -> None:
    async with run_edge(worker_silence_s=0.4) as edge:
        edge.asr.heartbeats = True
        async with edge.http.ws_connect(PATH, headers=KEY) as socket:
            await send(socket, speech([1]))
            await asyncio.sleep(1.2)
            await send(socket, speech([2]))
            await socket.send_json({"type": "close_stream"})
            messages = await everything(socket)
        assert finals(messages) == "w1 w2" and len(edge.asr.configs) == 1
        assert {one["type"] for one in messages} == {"transcription"}


async def test_a_worker_that_promises_nothing_may_be_silent() -> None:
    async with run_edge(worker_silence_s=0.4) as edge:
        edge.asr.hang_at_word = 2
        async with edge.http.ws_connect(PATH, headers=KEY) as socket:
            await send(socket, speech([1, 2]))
            await asyncio.sleep(1)
            edge.asr.hang.set()
            await socket.send_json({"type": "close_stream"})
            assert finals(await everything(socket)) == "w1 w2"
        assert len(edge.asr.configs) == 1


async def test_no_worker_at_all_for_a_moment(edge: Edge) -> None:
    edge.asr.refuse = Unavailable("no healthy upstream")
    async with edge.http.ws_connect(PATH, headers=KEY) as socket:
        await send(socket, speech([1, 2]))
        await asyncio.sleep(0.5)
        edge.asr.refuse = None
        await socket.send_json({"type": "close_stream"})
        assert finals(await everything(socket)) == "w1 w2"


async def test_audio_that_kills_every_worker_ends_with_an_error(edge: Edge) -> None:
    class Poison(set[int]):
        def discard(self, element: object) -> None: ...

    edge.asr.die_at_word = Poison({2})
    async with edge.http.ws_connect(PATH, headers=KEY) as socket:
        await send(socket, speech([1, 2, 3]))
        messages = await everything(socket)
        assert (messages[-1]["type"], socket.close_code) == ("error", 1013)
    await edge.until_closed(1)
    assert edge.asr.active == 0


async def test_telephone_audio(edge: Edge) -> None:
    import numpy as np

    narrow = np.frombuffer(speech([40, 40, 0, 80]), "<i2")[::2].astype(np.int16)
    async with edge.http.ws_connect(PATH + "?encoding=mulaw&sample_rate=8000", headers=KEY) as socket:
        await send(socket, compress(narrow, "mulaw"), chunk=160)
        await socket.send_json({"type": "close_stream"})
        assert len(finals(await everything(socket)).split()) == 3


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        ("", {}, 401),
        ("", {"Authorization": "Token wrong"}, 401),
        ("", {"Authorization": "Token expired"}, 403),
        ("", {"Authorization": "Token busy"}, 429),
        ("?encoding=mp9", KEY, 400),
        ("?sample_rate=12", KEY, 400),
        ("?sample_rate=abc", KEY, 400),
        ("?eou_timeout_ms=-4", KEY, 400),
        ("?diarize=perhaps", KEY, 400),
        ("?language=%00", KEY, 400),
        ("?external_session_id=a%20b", KEY, 400),
        ("?keywords=a:b", KEY, 400),
    ],
)
async def test_what_is_wrong_is_said_before_the_upgrade(
    edge: Edge, query: str, headers: dict[str, str], status: int
) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await edge.http.ws_connect(PATH + query, headers=headers)
    assert refused.value.status == status
    assert refused.value.headers and "x-request-id" in refused.value.headers


async def test_unknown_query_keys_are_ignored_and_sub_protocols_carry_keys(edge: Edge) -> None:
    async with edge.http.ws_connect(PATH + "?something=else&v=2", protocols=("token", "good")) as socket:
        assert socket.protocol == "token"
        await socket.send_json({"type": "close_stream"})
        [last] = await everything(socket)
        assert (last["is_last"], last["transcript"]) == (True, "")


@pytest.mark.parametrize(
    "frame", ["nonsense", "[]", "7", "{}", '{"type":"dance"}', '{"type":' + "[" * 5000, '{"type":{"a":1}}']
)
async def test_bad_frames_end_with_an_error_and_the_words_so_far(edge: Edge, frame: str) -> None:
    async with edge.http.ws_connect(PATH, headers=KEY) as socket:
        await socket.send_str(frame)
        messages = await everything(socket)
        assert messages[-1]["type"] == "error"
        assert socket.close_code == 1008


async def test_a_full_worker_says_when_to_come_back(edge: Edge) -> None:
    edge.asr.refuse = AtCapacity("all slots are taken", retry_after_s=3)
    async with edge.http.ws_connect(PATH, headers=KEY) as socket:
        await send(socket, speech([1]))
        messages = await everything(socket)
        assert (messages[-1]["code"], socket.close_code) == ("AT_CAPACITY", 1013)


async def test_idle_sockets_are_closed() -> None:
    async with run_edge(listen_idle_s=0.2) as edge:
        async with edge.http.ws_connect(PATH, headers=KEY) as socket:
            messages = await everything(socket)
            assert messages[-1]["type"] == "error"
            assert socket.close_code == 1011


async def test_a_vanished_client_frees_everything(edge: Edge) -> None:
    for _ in range(5):
        socket = await edge.http.ws_connect(PATH, headers=KEY)
        await send(socket, speech([1, 2]))
        assert socket._response.connection is not None
        socket._response.connection.transport.abort()  # type: ignore[union-attr]
    await edge.until_closed(5)
    async with asyncio.timeout(5):
        while edge.asr.active:
            await asyncio.sleep(0.01)


async def test_renewals_run_while_a_stream_is_open() -> None:
    async with run_edge() as edge:
        edge.sessions.lifetime_ms = 900
        async with edge.http.ws_connect(PATH, headers=KEY) as socket:
            await asyncio.sleep(1.3)
            await socket.send_json({"type": "close_stream"})
            await everything(socket)
        assert edge.sessions.renewed >= 1


async def test_a_slow_worker_holds_the_client_back(edge: Edge) -> None:
    edge.asr.hang_at_word = 1
    pcm = speech([1] + [2] * 50 + [0]) * 150  # 13 minutes: more than all the buffers on the way
    async with edge.http.ws_connect(PATH + "?interim_results=false", headers=KEY) as socket:
        talking = asyncio.create_task(send(socket, pcm, chunk=64_000))
        await asyncio.sleep(0.5)
        assert not talking.done()
        assert edge.asr.bytes_heard < len(pcm) // 2
        edge.asr.hang.set()
        await asyncio.wait_for(talking, 20)
        await socket.send_json({"type": "close_stream"})
        assert len(finals(await everything(socket)).split()) == 51 * 150


async def test_many_sockets_at_once(edge: Edge) -> None:
    numbers = [1, 2, 0, 3, 0, 4]
    results = await asyncio.gather(*(say_and_close(edge, numbers) for _ in range(50)))
    assert {finals(messages) for messages in results} == {text_of(numbers)}
    await edge.until_closed(50)
    assert edge.asr.active == 0

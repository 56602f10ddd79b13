"""Streams that go on elsewhere: the edge dies, the client comes back with the id of its session."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType

from edge.listening.keeper import name_of
from tests.fakes.asr_servicer import speech, text_of
from tests.fakes.edge_app import KEY, Edge, run_edge

PULSE, DEEPGRAM = "/v1/listen/stream", "/v1/listen?encoding=linear16&sample_rate=16000&interim_results=true"
FLUX = "/v2/listen?encoding=linear16&sample_rate=16000"
OFTEN: dict[str, Any] = {"resume_interval_s": 0.05}


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    async with run_edge(**OFTEN) as running:
        yield running


async def read(socket: ClientWebSocketResponse, told: list[dict[str, Any]]) -> None:
    async for frame in socket:
        assert frame.type == WSMsgType.TEXT, frame
        told.append(json.loads(frame.data))


def id_of(told: list[dict[str, Any]]) -> str:
    first = told[0]
    return str(first.get("session_id") or first.get("request_id") or first["metadata"]["request_id"])


def finals(told: list[dict[str, Any]]) -> list[str]:
    texts = [one["transcript"] for one in told if one.get("type") == "transcription" and one["is_final"]]
    for one in told:
        if one.get("type") == "Results" and one["is_final"]:
            texts.append(one["channel"]["alternatives"][0]["transcript"])
        elif one.get("event") == "EndOfTurn":
            texts.append(one["transcript"])
    return [text for text in texts if text]


async def until_kept(edge: Edge, n_bytes: int, end: int | None = None) -> None:
    """Until so much unsettled audio is kept, of a stream that has come to `end`."""

    def there() -> bool:
        for state, pieces in edge.sessions.kept.values():
            book = json.loads(state)
            if (book["end"] if end is None else end) == book["end"]:
                held = sum(map(len, pieces))
                return bool(held - (book["start"] - book["first"]) == n_bytes)
        return False

    async with asyncio.timeout(5):
        while not there():
            await asyncio.sleep(0.01)


async def begin(
    edge: Edge, path: str, numbers: list[int], unsettled: int
) -> tuple[str, list[dict[str, Any]]]:
    """A stream whose edge dies after `numbers`; its id, and what the client has heard."""
    told: list[dict[str, Any]] = []
    socket = await edge.http.ws_connect(path, headers=KEY)
    reading = asyncio.create_task(read(socket, told))
    pcm = speech(numbers)
    for at in range(0, len(pcm), 1_000):
        await socket.send_bytes(pcm[at : at + 1_000])
    await until_kept(edge, unsettled * 3_200, len(pcm))
    settled = text_of(numbers[: len(numbers) - unsettled])
    async with asyncio.timeout(5):  # the client has heard what is settled
        while not told or " ".join(finals(told)) != settled:
            await asyncio.sleep(0.01)
    edge.mesh.keeper.enabled = False  # as if it had been killed: nobody tidies up
    edge.mesh.keeper._streams.clear()
    assert socket._response.connection is not None
    socket._response.connection.transport.abort()  # type: ignore[union-attr]
    await asyncio.gather(reading, return_exceptions=True)
    return id_of(told), told


async def go_on(
    edge: Edge, path: str, session: str, numbers: list[int], **headers: str
) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = []
    glue = "&" if "?" in path else "?"
    async with edge.http.ws_connect(f"{path}{glue}session_id={session}", headers=headers or KEY) as socket:
        await socket.send_bytes(speech(numbers))
        await socket.send_json({"type": "close_stream" if path is PULSE else "CloseStream"})
        await read(socket, told)
    return told


@pytest.mark.parametrize("path", [PULSE, DEEPGRAM, FLUX])
@pytest.mark.parametrize("cut", range(1, 9))
async def test_no_word_is_lost_or_doubled_when_the_edge_dies(edge: Edge, path: str, cut: int) -> None:
    numbers = [1, 2, 0, 3, 4, 5, 0, 6, 7]
    settled = max((at + 1 for at in range(cut) if numbers[at] == 0), default=0)
    async with run_edge(edge, **OFTEN) as other:
        session, before = await begin(edge, path, numbers[:cut], cut - settled)
        after = await go_on(other, path, session, numbers[cut:])
        hello = after[1 if path is FLUX else 0]
        assert hello["type"] in ("session_resumed", "Resumed")
        assert (hello["resumed"], hello["position"]) == (True, cut / 10)
        assert " ".join(finals(before) + finals(after)) == text_of(numbers)
        assert {id_of([one]) for one in after} == {session}
        assert other.asr.configs[-1].offset_ms == settled * 100
        await asyncio.sleep(0.1)
        assert not edge.sessions.kept


async def test_a_finalize_that_nobody_answered_is_answered(edge: Edge) -> None:
    edge.asr.hang_at_word = 2
    async with run_edge(edge, **OFTEN) as other:
        socket = await edge.http.ws_connect(PULSE, headers=KEY)
        await socket.send_bytes(speech([1, 2]))
        session = (await socket.receive_json(timeout=5))["session_id"]
        await socket.send_json({"type": "finalize"})
        await until_kept(edge, 6_400)
        await asyncio.sleep(0.1)
        edge.mesh.keeper.enabled = False
        edge.mesh.keeper._streams.clear()
        await socket.close()
        edge.asr.hang.set()
        after = await go_on(other, PULSE, session, [3])
        answers = [(one["transcript"], one["from_finalize"]) for one in after if one.get("is_final")]
        assert answers == [("w1 w2", True), ("w3", False)]


async def test_a_client_that_lost_its_network_comes_back_to_the_same_edge(edge: Edge) -> None:
    told: list[dict[str, Any]] = []
    socket = await edge.http.ws_connect(PULSE, headers=KEY)
    reading = asyncio.create_task(read(socket, told))
    await socket.send_bytes(speech([1, 0, 2, 3]))
    await until_kept(edge, 6_400)
    async with asyncio.timeout(5):
        while not finals(told):
            await asyncio.sleep(0.01)
    after = await go_on(edge, PULSE, id_of(told), [4, 0])  # the old socket is still there
    assert finals(after) == ["w2 w3 w4"]
    await socket.close()
    await reading


async def test_what_has_ended_is_forgotten(edge: Edge) -> None:
    for ending in ({"type": "close_stream"}, None):
        told: list[dict[str, Any]] = []
        async with edge.http.ws_connect(PULSE, headers=KEY) as socket:
            await socket.send_bytes(speech([1, 2]))
            await until_kept(edge, 6_400)
            if ending:
                await socket.send_json(ending)
                await read(socket, told)
        async with asyncio.timeout(5):
            while edge.sessions.kept:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("headers", [KEY, {"Authorization": "Token small"}], ids=["unknown id", "other key"])
async def test_what_is_not_there_or_somebody_elses_is_a_new_stream(
    edge: Edge, headers: dict[str, str]
) -> None:
    async with run_edge(edge, **OFTEN) as other:
        session, _ = await begin(edge, PULSE, [1, 2], 2)
        asked = session if headers is not KEY else "session_unknown"
        after = await go_on(other, PULSE, asked, [3], **headers)
        assert after[0] == {"type": "session_resumed", "session_id": asked, "resumed": False, "position": 0.0}
        assert finals(after) == ["w3"]


@pytest.mark.parametrize("session", ["a b", "x" * 129, "%00"])
@pytest.mark.parametrize("path", [PULSE, "/v1/listen"])
async def test_an_id_that_is_none_is_refused(edge: Edge, path: str, session: str) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await edge.http.ws_connect(f"{path}?session_id={session}", headers=KEY)
    assert refused.value.status == 400


@pytest.mark.parametrize("trouble", ["no redis", "no answer", "comes back"])
async def test_nothing_that_goes_wrong_with_it_disturbs_a_stream(trouble: str) -> None:
    async with run_edge(**OFTEN) as edge:
        edge.sessions.redis = trouble == "no answer"
        edge.sessions.keeping = trouble != "no answer"
        async with edge.http.ws_connect(PULSE, headers=KEY) as socket:
            for number in range(1, 9):
                await socket.send_bytes(speech([number]))
                await asyncio.sleep(0.05)
                if trouble == "comes back" and number == 5:
                    edge.sessions.redis = True
                    edge.mesh.keeper._not_before = 0.0
            if trouble == "comes back":
                await until_kept(edge, 8 * 3_200)
            else:
                assert len(edge.sessions.keeps) <= 1, "nobody is asked again at once"
            await socket.send_json({"type": "close_stream"})
            told: list[dict[str, Any]] = []
            await read(socket, told)
        assert finals(told) == [text_of(range(1, 9))]


async def test_redis_that_was_wiped_gets_everything_again(edge: Edge) -> None:
    async with edge.http.ws_connect(PULSE, headers=KEY) as socket:
        await socket.send_bytes(speech([1, 2, 3]))
        await until_kept(edge, 9_600)
        edge.sessions.kept.clear()
        await socket.send_bytes(speech([4]))
        await until_kept(edge, 12_800)
        state, _ = edge.sessions.kept.popitem()[1]
        assert json.loads(state)["first"] == 0


async def test_it_can_be_switched_off() -> None:
    async with run_edge(resume=False, **OFTEN) as edge:
        async with edge.http.ws_connect(PULSE + "?session_id=s1", headers=KEY) as socket:
            await socket.send_bytes(speech([1]))
            assert (await socket.receive_json())["resumed"] is False
            await asyncio.sleep(0.3)
        assert not edge.sessions.keeps


def test_names_tell_nothing_and_belong_to_a_key() -> None:
    names = {name_of(key, session) for key in ("a", "b") for session in ("s1", "s2")}
    assert len(names) == 4 and all(len(name) == 64 for name in names)

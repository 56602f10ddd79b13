"""Jobs outlive the edge that began them."""

import asyncio
import io
import json
import wave
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from edge.listening.job_store import PIECE_BYTES
from edge.listening.jobs import JOBS, MAX_RUNS
from tests.fakes.asr_servicer import speech
from tests.fakes.edge_app import KEY, Edge, run_edge
from tests.fakes.receiver import Receiver, receiving

QUICK: dict[str, Any] = {
    "fetch_private": True,
    "callback_pause_s": 0.01,
    "callback_timeout_s": 0.5,
    "shutdown_grace_s": 0.1,
    "job_watch_s": 0.05,
}
RAW = {"encoding": "linear16", "sample_rate": "16000", "language": "en"}


@asynccontextmanager
async def running(**settings: Any) -> AsyncIterator[tuple[Edge, Receiver]]:
    async with receiving() as receiver, run_edge(**{**QUICK, **settings}) as edge:
        yield edge, receiver


def second(edge: Edge, **settings: Any) -> Any:
    return run_edge(edge, **{**QUICK, **settings})


async def ask(edge: Edge, path: str = "/v1/listen", *, data: bytes = b"", **query: str) -> Any:
    headers = {**KEY, "Content-Type": "audio/raw"}
    body = io.BytesIO(data or speech([1, 2, 0, 3]))
    answer = await edge.http.post(path, params={**RAW, **query}, headers=headers, data=body)
    assert answer.status == 200, await answer.text()
    return await answer.json()


async def shown(edge: Edge, job_id: str) -> Any:
    return await (await edge.http.get(f"/v1/listen/jobs/{job_id}", headers=KEY)).json()


async def until(edge: Edge, job_id: str, **wanted: str) -> Any:
    async with asyncio.timeout(10):
        while not wanted.items() <= (body := await shown(edge, job_id)).items():
            await asyncio.sleep(0.02)
    return body


async def until_busy(edge: Edge) -> None:
    """Until a worker is in the middle of a recording, which it will not get out of."""
    async with asyncio.timeout(10):
        while not edge.asr.frozen:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("path", "query", "callback"),
    [
        ("/v1/listen", {"timestamps": "true"}, "callback_url"),
        ("/v1/listen", {"search": "w2"}, "callback"),
        ("/waves/v1/stt/", {"model": "pulse"}, "webhook_url"),
        ("/waves/v1/pulse/get_text", {}, "webhook_url"),
    ],
)
async def test_another_edge_finishes_what_one_began(path: str, query: dict[str, str], callback: str) -> None:
    async with receiving() as receiver, run_edge(**QUICK) as other:
        other.asr.freeze_at_word = {3}
        async with second(other) as first:
            answer = await ask(first, path, **(query | {callback: receiver.url}))  # type: ignore[arg-type]
            job_id = answer.get("job_id") or answer["request_id"]
            await until_busy(other)  # and then the first edge is stopped
        await receiver.until(1)
        told = json.loads(receiver.requests[0][2])
        text = json.dumps(told)
        assert "w1 w2 w3" in text
        assert "X-Voxmesh-Signature" in receiver.requests[0][1]
        body = await until(other, job_id, delivery="delivered")
        assert (body["status"], body["attempts"]) == ("completed", 1)
        assert len(receiver.requests) == 1
        [(state, pieces)] = other.sessions.jobs.values()
        assert pieces == [] and b"good" not in state and b"w1" not in state, "what is over keeps no secrets"
        await other.until_closed(2)
        assert sum(one.usage.audio_ms for one in other.sessions.closed if one.usage) == 400


async def test_a_job_of_a_killed_edge_waits_for_its_lease_to_lapse() -> None:
    async with running() as (other, receiver):
        async with second(other) as first:
            other.asr.freeze_at_word = {3}
            await ask(first, callback_url=receiver.url)
            await until_busy(other)
            await asyncio.sleep(0.5)
            assert len(other.asr.configs) == 1, "somebody works on it"
            jobs = first.runner.app[JOBS]
            jobs._closing, jobs._known = True, OrderedDict()  # it is not heard of any more
            for task in jobs._tasks:
                task.cancel()
            await receiver.until(1)


async def test_an_answer_that_was_not_taken_yet_is_delivered_by_another() -> None:
    async with running() as (other, receiver):
        async with second(other, callback_pause_s=60) as first:
            receiver.statuses = [500]
            await ask(first, callback_url=receiver.url)
            await receiver.until(1)
        await receiver.until(2)
        assert receiver.requests[0][2] == receiver.requests[1][2]
        assert len(other.asr.configs) == 1, "it was not recognised again"


async def test_large_recordings_travel_in_pieces() -> None:
    pcm = speech([1, 2, 0, 3]) + bytes(3 * PIECE_BYTES)
    with wave.open(file := io.BytesIO(), "wb") as made:
        made.setparams((1, 2, 16_000, 0, "NONE", ""))
        made.writeframes(pcm)
    async with running() as (other, receiver):
        async with second(other) as first:
            other.asr.freeze_at_word = {3}
            await ask(first, data=file.getvalue(), callback_url=receiver.url)
            await until_busy(other)
            [(_, pieces)] = other.sessions.jobs.values()
            assert b"".join(pieces) == file.getvalue() and len(pieces) == 4
        await receiver.until(1)
        assert json.loads(receiver.requests[0][2])["result"]["text"] == "w1 w2 w3"


async def test_a_job_that_ends_every_edge_is_given_up() -> None:
    async with running() as (other, receiver):
        other.asr.freeze_at_word = {3}
        async with second(other) as first:
            await ask(first, callback_url=receiver.url)
            await until_busy(other)
            name, (state, pieces) = next(iter(other.sessions.jobs.items()))
            other.sessions.jobs[name] = (json.dumps({**json.loads(state), "runs": MAX_RUNS}).encode(), pieces)
        await receiver.until(1)
        told = json.loads(receiver.requests[0][2])
        assert (told["status"], told["code"]) == ("failed", "INTERNAL")


async def test_without_redis_jobs_are_done_as_ever() -> None:
    async with running() as (edge, receiver):
        edge.sessions.redis = False
        answer = await ask(edge, callback_url=receiver.url)
        await receiver.until(1)
        await until(edge, answer["job_id"], delivery="delivered")
        assert not edge.sessions.jobs


async def test_every_edge_knows_the_state_of_a_job_and_only_its_owner_may_ask() -> None:
    async with running() as (edge, receiver), second(edge) as other:
        answer = await ask(edge, callback_url=receiver.url)
        await until(other, answer["job_id"], delivery="delivered")
        path = f"/v1/listen/jobs/{answer['job_id']}"
        for headers, status in ((KEY, 200), ({"Authorization": "Token small"}, 404)):
            assert (await other.http.get(path, headers=headers)).status == status


async def test_a_state_that_nobody_can_read_is_dropped() -> None:
    async with running() as (edge, _):
        edge.sessions.jobs["a" * 64] = (b'{"other": "version"}', [])
        edge.sessions.unfinished["a" * 64] = 0
        async with asyncio.timeout(5):
            while edge.sessions.unfinished:
                await asyncio.sleep(0.01)

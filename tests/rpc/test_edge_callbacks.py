"""Answers that come later: signed, retried, guarded, in each dialect's words."""

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from common.errors import AtCapacity, Unavailable
from tests.fakes.asr_servicer import speech
from tests.fakes.edge_app import KEY, Edge, run_edge
from tests.fakes.receiver import Receiver, receiving

RAW = {"encoding": "linear16", "sample_rate": "16000"}
QUICK = {"fetch_private": True, "callback_pause_s": 0.01, "callback_timeout_s": 0.5, "shutdown_grace_s": 1}


@asynccontextmanager
async def running(**settings: Any) -> AsyncIterator[tuple[Edge, Receiver]]:
    async with receiving() as receiver, run_edge(**{**QUICK, **settings}) as edge:
        yield edge, receiver


async def ask(edge: Edge, path: str = "/v1/listen", status: int = 200, **query: str) -> Any:
    headers = {**KEY, "Content-Type": "audio/raw"}
    answer = await edge.http.post(path, params={**RAW, **query}, headers=headers, data=speech([1, 2, 0, 3]))
    assert answer.status == status, await answer.text()
    return await answer.json()


async def state(edge: Edge, job_id: str, **wanted: str) -> Any:
    async with asyncio.timeout(10):
        while True:
            answer = await edge.http.get(f"/v1/listen/jobs/{job_id}", headers=KEY)
            body = await answer.json()
            if all(body[name] == value for name, value in wanted.items()):
                return body
            await asyncio.sleep(0.01)


async def test_smallest() -> None:
    async with running() as (edge, receiver):
        answer = await ask(edge, callback_url=receiver.url, timestamps="true")
        assert answer["status"] == "processing"
        await receiver.until(1)
        method, headers, body = receiver.requests[0]
        told = json.loads(body)
        assert (method, headers["Content-Type"]) == ("POST", "application/json")
        assert (told["job_id"], told["status"]) == (answer["job_id"], "completed")
        assert told["result"]["text"] == "w1 w2 w3" and len(told["result"]["words"]) == 3
        assert "results" not in told["result"]
        shown = await state(edge, answer["job_id"], delivery="delivered")
        assert (shown["status"], shown["attempts"]) == ("completed", 1)
        await edge.until_closed(1)
        usage = edge.sessions.closed[0].usage
        assert usage and (usage.audio_ms, usage.status) == (400, 200)


async def test_deepgram() -> None:
    async with running() as (edge, receiver):
        answer = await ask(edge, callback=receiver.url, callback_method="put")
        assert set(answer) == {"request_id"}
        await receiver.until(1)
        method, _, body = receiver.requests[0]
        told = json.loads(body)
        assert method == "PUT" and told["metadata"]["request_id"] == answer["request_id"]
        assert told["results"]["channels"][0]["alternatives"][0]["transcript"] == "w1 w2 w3"


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_waves(method: str) -> None:
    async with running() as (edge, receiver):
        query: Any = {
            "model": "pulse",
            "language": "en",
            "webhook_extra": "order:7,who:me",
            "webhook_method": method,
        }
        answer = await ask(edge, "/waves/v1/stt/", webhook_url=receiver.url, **query)
        assert answer == {"status": "processing", "request_id": answer["request_id"]}
        await receiver.until(1)
        assert receiver.requests[0][0] == method
        if method == "POST":
            told = json.loads(receiver.requests[0][2])
            assert (told["transcription"], told["webhook_extra"]) == ("w1 w2 w3", {"order": "7", "who": "me"})
        else:
            assert receiver.query[0] == {"request_id": answer["request_id"], "status": "success"}


@pytest.mark.parametrize(("secret", "signing_key"), [("", "good"), ("shared secret", "shared secret")])
async def test_the_signature(secret: str, signing_key: str) -> None:
    async with running(callback_secret=secret) as (edge, receiver):
        await ask(edge, callback_url=receiver.url)
        await receiver.until(1)
        _, headers, body = receiver.requests[0]
        at, _, given = headers["X-Voxmesh-Signature"].removeprefix("t=").partition(",v1=")
        assert abs(int(at) - time.time()) < 60
        wanted = hmac.new(signing_key.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
        assert given == wanted


async def test_failures_are_retried_until_it_is_taken() -> None:
    async with running() as (edge, receiver):
        receiver.statuses = [500, 503, 429]
        answer = await ask(edge, callback_url=receiver.url)
        assert (await state(edge, answer["job_id"], delivery="delivered"))["attempts"] == 4
        assert len({body for _, _, body in receiver.requests}) == 1
        assert {headers["X-Voxmesh-Delivery"] for _, headers, _ in receiver.requests} == {answer["job_id"]}


@pytest.mark.parametrize(("statuses", "attempts"), [([500] * 99, 3), ([404], 1), ([302], 1)])
async def test_there_is_an_end_to_it(statuses: list[int], attempts: int) -> None:
    async with running(callback_attempts=3) as (edge, receiver):
        receiver.statuses = statuses
        answer = await ask(edge, callback_url=receiver.url)
        shown = await state(edge, answer["job_id"], delivery="failed")
        assert (shown["status"], shown["attempts"], len(receiver.requests)) == (
            "completed",
            attempts,
            attempts,
        )


async def test_a_slow_endpoint_holds_up_nobody() -> None:
    async with running(jobs_at_once=1, callback_attempts=1) as (edge, receiver):
        receiver.slow_s = 5
        slow = await ask(edge, callback_url=receiver.url)
        await receiver.until(1)
        receiver.slow_s = 0
        quick = await ask(edge, callback_url=receiver.url)
        assert (await state(edge, quick["job_id"], delivery="delivered"))["attempts"] == 1
        await state(edge, slow["job_id"], delivery="failed")


async def test_a_full_or_missing_worker_is_waited_for() -> None:
    async with running() as (edge, receiver):
        for trouble in (AtCapacity("full"), Unavailable("gone")):
            edge.asr.refuse = trouble
            answer = await ask(edge, callback_url=receiver.url)
            await asyncio.sleep(0.3)
            edge.asr.refuse = None
            await state(edge, answer["job_id"], status="completed", delivery="delivered")


async def test_a_failed_job_says_so() -> None:
    async with running() as (edge, receiver):
        answer = await edge.http.post(
            "/v1/listen", params={"callback_url": receiver.url}, headers=KEY, data=b"nothing to hear" * 99
        )
        assert answer.status == 200
        await receiver.until(1)
        told = json.loads(receiver.requests[0][2])
        assert (told["status"], told["code"]) == ("failed", "UNSUPPORTED_FORMAT") and told["error"]
        await edge.until_closed(1)
        usage = edge.sessions.closed[0].usage
        assert usage and usage.status == 415


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/x", "http://localhost/x", "http://[::1]/", "file:///etc/passwd", "http://169.254.169.254/", "nonsense"]
)  # fmt: skip
async def test_callbacks_into_the_private_network_are_refused(url: str) -> None:
    async with run_edge() as edge:
        for name in ("callback_url", "callback"):
            body = await ask(edge, status=400, **{name: url})
            assert body["code"] == "INVALID_ARGUMENT"
        assert not edge.asr.configs
        await edge.until_closed(2)


async def test_jobs_are_bounded_and_their_state_is_the_owners() -> None:
    async with running(max_jobs=1) as (edge, receiver):
        edge.asr.hang_at_word = 3
        first = await ask(edge, callback_url=receiver.url)
        await ask(edge, status=429, callback_url=receiver.url)
        answer = await edge.http.get(
            f"/v1/listen/jobs/{first['job_id']}", headers={"Authorization": "Token small"}
        )
        assert answer.status == 404
        answer = await edge.http.get(
            f"/v1/listen/jobs/{first['job_id']}", headers={"Authorization": "Token bad"}
        )
        assert answer.status == 401
        edge.asr.hang.set()
        await state(edge, first["job_id"], delivery="delivered")
        await ask(edge, callback_url=receiver.url)


async def test_a_stopping_edge_delivers_first() -> None:
    async with receiving() as receiver:
        async with run_edge(**QUICK) as edge:
            await ask(edge, callback_url=receiver.url)
        assert len(receiver.requests) == 1


async def test_no_recording_is_told_at_once() -> None:
    async with running() as (edge, receiver):
        answer = await edge.http.post(
            "/v1/listen", params={"callback_url": receiver.url}, headers=KEY, data=b""
        )
        assert (answer.status, (await answer.json())["code"]) == (400, "MISSING_PARAMETER")

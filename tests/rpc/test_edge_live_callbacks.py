"""Deepgram live with `callback`: the messages go to a url, in their order, signed and retried."""

import asyncio
import hashlib
import hmac
import json
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType

from tests.fakes.asr_servicer import speech
from tests.fakes.edge_app import KEY, Edge, run_edge
from tests.fakes.receiver import Receiver, receiving

QUERY = {"encoding": "linear16", "sample_rate": "16000", "interim_results": "true"}
QUICK: dict[str, Any] = {"fetch_private": True, "callback_pause_s": 0.01, "callback_timeout_s": 0.5}


async def talk(edge: Edge, url: str, numbers: list[int], **query: str) -> tuple[list[Any], int | None]:
    """What the socket hears, and how it closes."""
    told: list[Any] = []
    params = {**QUERY, "callback": url, **query}
    async with edge.http.ws_connect("/v1/listen", params=params, headers=KEY) as socket:
        await socket.send_bytes(speech(numbers))
        await socket.send_json({"type": "CloseStream"})
        async with asyncio.timeout(10):
            while (frame := await socket.receive()).type == WSMsgType.TEXT:
                told.append(json.loads(frame.data))
        return told, socket.close_code


def finals(receiver: Receiver) -> list[str]:
    told = [json.loads(body) for _, _, body in receiver.requests]
    texts = [one["channel"]["alternatives"][0]["transcript"] for one in told if one.get("is_final")]
    return [text for text in texts if text]


@pytest.mark.parametrize("method", ["post", "put"])
async def test_the_messages_go_to_the_url(method: str) -> None:
    async with receiving() as receiver, run_edge(**QUICK) as edge:
        told, code = await talk(edge, receiver.url, [1, 2, 0, 3], callback_method=method)
        assert (len(told), code) == (1, 1000) and set(told[0]) == {"request_id"}
        async with asyncio.timeout(5):
            while not receiver.requests or b'"Metadata"' not in receiver.requests[-1][2]:
                await asyncio.sleep(0.01)
        assert finals(receiver) == ["w1 w2", "w3"]
        for number, (verb, headers, body) in enumerate(receiver.requests):
            assert verb == method.upper()
            assert headers["X-Voxmesh-Delivery"] == f"{told[0]['request_id']}.{number}"
            at, _, given = headers["X-Voxmesh-Signature"].removeprefix("t=").partition(",v1=")
            assert given == hmac.new(b"good", f"{at}.".encode() + body, hashlib.sha256).hexdigest()


async def test_their_order_survives_failures() -> None:
    async with receiving(statuses=[503, 200, 500, 429]) as receiver, run_edge(**QUICK) as edge:
        await talk(edge, receiver.url, [1, 0, 2, 0, 3, 0])
        async with asyncio.timeout(10):
            while b'"Metadata"' not in (receiver.requests or [("", {}, b"")])[-1][2]:
                await asyncio.sleep(0.01)
        ids = [int(headers["X-Voxmesh-Delivery"].rpartition(".")[2]) for _, headers, _ in receiver.requests]
        assert ids == sorted(ids) and len(ids) - len(set(ids)) == 3
        assert finals(receiver)[-1] == "w3"


async def test_a_url_that_takes_nothing_ends_the_stream() -> None:
    async with receiving(statuses=[500] * 99) as receiver, run_edge(callback_attempts=2, **QUICK) as edge:
        params = {**QUERY, "callback": receiver.url}
        async with edge.http.ws_connect("/v1/listen", params=params, headers=KEY) as socket:
            assert set(await socket.receive_json()) == {"request_id"}
            async with asyncio.timeout(10):
                while not socket.closed:
                    await socket.send_bytes(speech([1, 0]))
                    try:
                        await socket.receive(timeout=0.1)
                    except TimeoutError:
                        continue
            assert socket.close_code == 1013 and len(receiver.requests) == 2


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/x", "http://169.254.169.254/", "file:///etc/passwd", "nonsense"]
)
async def test_addresses_inside_are_refused_before_the_upgrade(url: str) -> None:
    async with run_edge() as edge:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await edge.http.ws_connect("/v1/listen", params={**QUERY, "callback": url}, headers=KEY)
        assert refused.value.status == 400
        await edge.until_closed(1)

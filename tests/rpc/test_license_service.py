"""The licence service over gRPC."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from common.clients import LicenseClient
from common.errors import (
    AtCapacity,
    InvalidArgument,
    LicenseExpired,
    NotFound,
    PermissionDenied,
    RateLimited,
    Unauthenticated,
)
from common.pb.envoy.service.auth.v3 import (
    AttributeContext,
    AttributeContextHttpRequest,
    AttributeContextRequest,
    AuthorizationStub,
    CheckRequest,
    CheckResponse,
)
from common.pb.voxmesh.license.v1 import (
    AcquireRequest,
    Kind,
    LicenseState,
    ReleaseRequest,
    RenewRequest,
    ReportRequest,
    UsageEvent,
    ValidateRequest,
)
from common.rpc import AioStub
from license.authorization import Authorization
from license.gate import Gate
from license.keys import License, sign
from license.leases import LeaseTable
from license.ledger import Ledger
from license.service import LicenseService, unix_ms
from license.writer import LedgerWriter
from tests.conftest import ServeRpc
from tests.fakes.licenses import AUTHORITY, ManualClock, make_license

KEY = sign(make_license(), AUTHORITY)
LEASE_MS = 60_000
UNAUTHENTICATED, PERMISSION_DENIED, RESOURCE_EXHAUSTED = 16, 7, 8


class AuthorizationClient(AioStub, AuthorizationStub): ...


@dataclass
class Served:
    license: LicenseClient
    authorization: AuthorizationClient
    leases: LeaseTable
    ledger: Ledger


@pytest.fixture
async def served(serve_rpc: ServeRpc, tmp_path: Path) -> AsyncIterator[Served]:
    gate = Gate([AUTHORITY.public_key()], unix_ms)
    leases = LeaseTable(ManualClock(), b"secret", lease_ms=LEASE_MS)
    ledger = Ledger(tmp_path / "usage")
    writer = LedgerWriter(ledger)
    channel = await serve_rpc(LicenseService(gate, leases, writer, KEY), Authorization(gate, leases, writer))
    yield Served(LicenseClient(channel), AuthorizationClient(channel), leases, ledger)
    await writer.close()


def acquire(document: License | str = KEY, request_id: str = "", kind: Kind = Kind.LISTEN) -> AcquireRequest:
    key = document if isinstance(document, str) else sign(document, AUTHORITY)
    return AcquireRequest(key=key, kind=kind, request_id=request_id)


def event(event_id: str, *, audio_ms: int = 0) -> UsageEvent:
    return UsageEvent(event_id, "key-1", Kind.LISTEN, unix_ms(), audio_ms, status=200)


async def test_a_request_from_acquire_to_release(served: Served) -> None:
    lease = await served.license.acquire(acquire(make_license(requests_per_minute=10), "r1"))
    assert (
        lease.key_id == "key-1" and lease.features == ["asr", "tts", "streaming"] and lease.requests_left == 9
    )
    assert abs(lease.expires_ms - unix_ms() - LEASE_MS) < 5_000
    renewed = await served.license.renew(RenewRequest(lease_id=lease.lease_id))
    assert renewed.expires_ms >= lease.expires_ms
    for _ in range(2):
        await served.license.release(ReleaseRequest(lease_id=lease.lease_id))
    assert len(served.leases) == 0


@pytest.mark.parametrize("key", ["", "wrong", KEY[:-9], "vx1.…", "x" * 100_000])
async def test_a_bad_key_is_unauthenticated(served: Served, key: str) -> None:
    with pytest.raises(Unauthenticated):
        await served.license.acquire(acquire(key))


async def test_refusals_say_why(served: Served) -> None:
    past = int(time.time() * 1000) - 1
    with pytest.raises(LicenseExpired) as expired:
        await served.license.acquire(acquire(make_license(expires_ms=past)))
    assert expired.value.details["expires_at"].endswith("Z")
    with pytest.raises(PermissionDenied, match="tts"):
        await served.license.acquire(acquire(make_license(features=("asr",)), kind=Kind.SPEAK))
    with pytest.raises(InvalidArgument):
        await served.license.acquire(acquire(kind=Kind.UNSPECIFIED))
    await served.license.acquire(acquire(make_license(max_concurrent=1)))
    with pytest.raises(AtCapacity) as full:
        await served.license.acquire(acquire(make_license(max_concurrent=1)))
    assert full.value.retry_after_s and full.value.details == {"limit": 1}
    with pytest.raises(NotFound):
        await served.license.renew(RenewRequest(lease_id="none"))


async def test_validate_tells_how_a_key_stands(served: Served) -> None:
    own = await served.license.validate(ValidateRequest())
    assert (own.state, own.key_id, own.customer) == (LicenseState.VALID, "key-1", "Example Ltd")
    assert (await served.license.validate(ValidateRequest(key="x"))).state is LicenseState.INVALID
    ended = sign(make_license(expires_ms=5), AUTHORITY)
    answer = await served.license.validate(ValidateRequest(key=ended))
    assert (answer.state, answer.valid_until_ms) == (LicenseState.EXPIRED, 5)


async def test_usage_counts_once(served: Served) -> None:
    first = await served.license.report(ReportRequest(events=[event("a", audio_ms=10), event("b")]))
    again = await served.license.report(ReportRequest(events=[event("b"), event("c")]))
    assert (first.accepted, first.duplicates, again.accepted, again.duplicates) == (2, 0, 1, 1)
    assert served.ledger.event_ids() == ["a", "b", "c"]


async def test_reports_at_once_are_all_written(served: Served) -> None:
    reports = [ReportRequest(events=[event(f"e{n}"), event("same")]) for n in range(50)]
    answers = await asyncio.gather(*(served.license.report(report) for report in reports))
    assert sum(answer.accepted for answer in answers) == 51
    assert len(served.ledger.event_ids()) == 51


@pytest.mark.parametrize(
    "bad",
    [
        UsageEvent(key_id="key-1"),
        UsageEvent(event_id="e" * 200, key_id="key-1"),
        UsageEvent(event_id="e", key_id=""),
        UsageEvent(event_id="e", key_id="key-1", audio_ms=2**63),
        UsageEvent(event_id="e", key_id="key-1", features=["a,b"]),
        UsageEvent(event_id="e", key_id="key-1", features=["a"] * 100),
    ],
)
async def test_an_event_that_makes_no_sense_is_refused_whole(served: Served, bad: UsageEvent) -> None:
    with pytest.raises(InvalidArgument):
        await served.license.report(ReportRequest(events=[event("good"), bad]))
    assert served.ledger.event_ids() == []


async def test_a_report_has_at_most_1000_events(served: Served) -> None:
    with pytest.raises(InvalidArgument, match="1000"):
        await served.license.report(ReportRequest(events=[event(str(n)) for n in range(1001)]))
    assert (
        await served.license.report(ReportRequest(events=[event(str(n)) for n in range(1000)]))
    ).accepted == 1000


async def test_the_audio_of_a_day_runs_out(served: Served) -> None:
    document = make_license(audio_ms_per_day=1000)
    await served.license.acquire(acquire(document))
    await served.license.report(ReportRequest(events=[event("a", audio_ms=1000)]))
    with pytest.raises(RateLimited) as caught:
        await served.license.acquire(acquire(document))
    assert 0 < (caught.value.retry_after_s or 0) <= 86_400
    await served.license.acquire(acquire(make_license("key-2", audio_ms_per_day=1000)))


async def check(
    served: Served, path: str = "/voxmesh.asr.v1.AsrService/Recognize", **headers: str
) -> CheckResponse:
    http = AttributeContextHttpRequest(path=path, headers=headers)
    attributes = AttributeContext(request=AttributeContextRequest(http=http))
    return await served.authorization.check(CheckRequest(attributes=attributes))


def passed(answer: CheckResponse) -> bool:
    return answer.status is not None and answer.status.code == 0


@pytest.mark.parametrize("scheme", ["Token ", "token ", "Bearer ", "BEARER   ", ""])
async def test_a_call_with_a_key_passes_under_its_key_id(served: Served, scheme: str) -> None:
    answer = await check(served, authorization=f"{scheme}{KEY}")
    assert passed(answer) and answer.ok_response
    identity = answer.ok_response.headers[0].header
    assert identity and (identity.key, identity.value) == ("x-voxmesh-key-id", "key-1")
    assert "authorization" in answer.ok_response.headers_to_remove


async def test_a_call_without_a_good_key_is_denied(served: Served) -> None:
    for headers in (
        {},
        {"authorization": "Token x"},
        {"authorization": "Token"},
        {"authorization": f"Basic {KEY}"},
    ):
        answer = await check(served, **headers)
        assert answer.status and answer.status.code == UNAUTHENTICATED
        assert answer.denied_response and answer.denied_response.status
        assert answer.denied_response.status.code == 401 and answer.denied_response.body


async def test_probes_need_no_key(served: Served) -> None:
    for path in (
        "/grpc.health.v1.Health/Check",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ):
        answer = await check(served, path)
        assert passed(answer) and answer.ok_response and not answer.ok_response.headers


async def test_calls_count_against_features_and_minutes(served: Served) -> None:
    key = sign(make_license(features=("asr",), requests_per_minute=1), AUTHORITY)
    speak = await check(served, "/voxmesh.tts.v1.TtsService/Synthesize", authorization=f"Token {key}")
    assert speak.status and speak.status.code == PERMISSION_DENIED
    await check(served, authorization=f"Token {key}")
    second = await check(served, authorization=f"Token {key}")
    assert second.status and second.status.code == RESOURCE_EXHAUSTED and second.denied_response
    names = {
        option.header.key: option.header.value for option in second.denied_response.headers if option.header
    }
    assert names["x-voxmesh-error"] == "RATE_LIMIT_EXCEEDED" and 1 <= int(names["retry-after"]) <= 60


async def test_a_call_that_takes_time_holds_a_lease_and_others_do_not(served: Served) -> None:
    document = make_license(features=("asr", "tts"), max_concurrent=1, max_audio_ms=9)
    token = f"Token {sign(document, AUTHORITY)}"
    for _ in range(3):
        assert passed(await check(served, "/voxmesh.asr.v1.AsrService/ListModels", authorization=token))
    first = await check(served, authorization=token)
    assert first.ok_response
    said = {option.header.key: option.header.value for option in first.ok_response.headers if option.header}
    assert said["x-voxmesh-features"] == "asr,tts" and said["x-voxmesh-max-audio-ms"] == "9"
    second = await check(served, "/voxmesh.tts.v1.TtsService/Synthesize", authorization=token)
    assert second.status and second.status.code == RESOURCE_EXHAUSTED
    await served.license.release(ReleaseRequest(lease_id=said["x-voxmesh-lease-id"]))
    assert passed(await check(served, "/voxmesh.tts.v1.TtsService/Synthesize", authorization=token))


async def test_a_request_to_judge_must_be_there(served: Served) -> None:
    answer = await served.authorization.check(CheckRequest())
    assert answer.status and answer.status.code == UNAUTHENTICATED

"""The licence service as a process: how it starts, how it is killed."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.clients import LicenseClient, check_health, open_channel
from common.pb.voxmesh.license.v1 import (
    AcquireRequest,
    Kind,
    ReleaseRequest,
    ReportRequest,
    UsageEvent,
    ValidateRequest,
)
from common.state import ledger_path, read_license_key
from license.ledger import Ledger, Usage
from session.outbox import Outbox
from tests.conftest import REPOSITORY
from tests.rpc.test_envoy_sidecar import free_endpoints

EVENTS = 400
KILLS = 3


class LicenseProcess:
    """`python -m license` on a port of its own."""

    def __init__(self, state: Path) -> None:
        self.state = state
        endpoint, ops = free_endpoints(2)
        self.address = str(endpoint)
        ports = {"PORT": str(endpoint.port), "OPS_PORT": str(ops.port), "LOG_FORMAT": "json"}
        drop = ("LICENSE_", "VOXMESH_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(drop)}
        self.environment = {**kept, **ports, "VOXMESH_STATE_DIR": str(state)}
        self.process: subprocess.Popen[str] | None = None

    def start(self, **more: str) -> None:
        command = [sys.executable, "-m", "license"]
        environment = self.environment | more
        self.process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def end(self, *, kill: bool = True) -> str:
        """Ends it and returns what it printed."""
        assert self.process is not None
        if kill:
            self.process.kill()
        printed, _ = self.process.communicate(timeout=30)
        return printed

    async def healthy(self) -> None:
        async with open_channel(self.address) as channel, asyncio.timeout(60):
            while not await check_health(channel, "", timeout_s=1):
                await asyncio.sleep(0.05)


@pytest.fixture
def process(tmp_path: Path) -> Iterator[LicenseProcess]:
    process = LicenseProcess(tmp_path / "state")
    yield process
    if process.process is not None and process.process.poll() is None:
        process.end()


async def test_a_service_that_is_killed_loses_no_usage_and_doubles_none(process: LicenseProcess) -> None:
    """Usage flows in while the service is killed again and again."""
    process.start()
    await process.healthy()
    channel = open_channel(process.address)
    client = LicenseClient(channel)
    key_id = (await client.validate(ValidateRequest())).key_id
    outbox = Outbox(lambda request: client.report(request, timeout=2), max_pause_s=0.2)
    delivering = asyncio.create_task(outbox.run())

    async def use(number: int) -> None:
        await asyncio.sleep(number * 0.004)
        await outbox.deliver(UsageEvent(f"event-{number}", key_id, audio_ms=10), wait_s=60)

    async with asyncio.TaskGroup() as group:
        for number in range(EVENTS):
            group.create_task(use(number))
        for _ in range(KILLS):
            await asyncio.sleep(0.3)
            process.end()
            process.start()
            await process.healthy()
    delivering.cancel()
    await channel.close(None)
    process.end()
    ledger = Ledger(ledger_path(process.state))
    assert sorted(ledger.event_ids()) == sorted(f"event-{number}" for number in range(EVENTS))
    assert ledger.usage(key_id) == Usage(EVENTS, 10 * EVENTS, 0)
    ledger.close()


async def test_it_stays_for_requests_that_are_open(process: LicenseProcess) -> None:
    """Everything may be told to stop at once, and who finishes last still has usage to report."""
    process.start(DRAIN_NOTICE_S="0.1")
    await process.healthy()
    channel = open_channel(process.address)
    client = LicenseClient(channel)
    key = read_license_key(process.state) or ""
    lease = await client.acquire(AcquireRequest(key=key, kind=Kind.LISTEN))
    assert process.process is not None
    process.process.terminate()
    await asyncio.sleep(1.0)
    assert await check_health(channel, "") and process.process.poll() is None
    event = UsageEvent("last", lease.key_id, Kind.LISTEN, audio_ms=10)
    assert (await client.report(ReportRequest(events=[event]))).accepted == 1
    await client.release(ReleaseRequest(lease_id=lease.lease_id))
    await channel.close(None)
    printed = await asyncio.to_thread(process.end, kill=False)
    assert process.process.returncode == 0 and '"still_needed": false' in printed
    ledger = Ledger(ledger_path(process.state))
    assert ledger.event_ids() == ["last"]
    ledger.close()


async def test_it_says_how_its_licence_stands_and_never_what_it_is(process: LicenseProcess) -> None:
    process.start()
    await process.healthy()
    key = read_license_key(process.state)
    printed = process.end()
    assert "✓ License validated successfully\n✓ License valid until: no end\n" in printed
    assert "✓ Server listening on port" in printed
    assert key and key not in printed
    assert any(
        json.loads(line)["event"] == "license" for line in printed.splitlines() if line.startswith("{")
    )


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"LICENSE_KEY": "mistyped"}, "Invalid license key"),
        ({"LICENSE_AUTHORITY": "AAAA", "LICENSE_KEY": "x"}, "32 bytes in base64"),
        ({"LICENSE_AUTHORITY": "AAAA"}, "LICENSE_KEY must hold a key"),
        ({"LICENSE_LEASE_S": "soon"}, "LICENSE_LEASE_S"),
        ({"LICENSE_KEYS": "x"}, "did you mean LICENSE_KEY"),
    ],
)
def test_a_bad_setting_stops_the_start_with_one_line(
    process: LicenseProcess, settings: dict[str, str], says: str
) -> None:
    process.start(**settings)
    printed = process.end(kill=False)
    assert process.process and process.process.returncode == 2
    assert printed.startswith("✗ license cannot start: ") and says in printed and printed.count("\n") == 1

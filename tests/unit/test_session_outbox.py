"""Usage on its way to the ledger."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from common.errors import InvalidArgument, Unavailable
from common.pb.voxmesh.license.v1 import ReportRequest, UsageEvent
from session.outbox import Outbox


class ScriptedLedger:
    """Fails as often as told, refuses events named "bad", takes the rest."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.calls: list[list[str]] = []
        self.taken: list[str] = []

    async def __call__(self, request: ReportRequest) -> None:
        names = [event.event_id for event in request.events]
        self.calls.append(names)
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            raise Unavailable("away")
        if "bad" in names:
            raise InvalidArgument("bad event")
        self.taken += names


@pytest.fixture
def ledger() -> ScriptedLedger:
    return ScriptedLedger()


@pytest.fixture
async def outbox(ledger: ScriptedLedger) -> AsyncIterator[Outbox]:
    outbox = Outbox(ledger, max_pause_s=0.01)
    running = asyncio.create_task(outbox.run())
    yield outbox
    running.cancel()


async def test_events_that_come_together_go_together(outbox: Outbox, ledger: ScriptedLedger) -> None:
    await asyncio.gather(*(outbox.deliver(UsageEvent(event_id=str(n)), wait_s=5) for n in range(2500)))
    assert [len(call) for call in ledger.calls] == [1000, 1000, 500]
    assert len(outbox) == 0


async def test_an_event_is_sent_until_it_is_taken(outbox: Outbox, ledger: ScriptedLedger) -> None:
    ledger.failures = 3
    await outbox.deliver(UsageEvent(event_id="a"), wait_s=5)
    assert len(ledger.calls) == 4 and ledger.taken == ["a"]


async def test_whoever_stops_waiting_leaves_the_event(outbox: Outbox, ledger: ScriptedLedger) -> None:
    ledger.failures = 3
    with pytest.raises(Unavailable):
        await outbox.deliver(UsageEvent(event_id="a"), wait_s=0.01)
    await outbox.deliver(UsageEvent(event_id="a"), wait_s=5)
    assert ledger.taken == ["a"]


async def test_a_bad_event_takes_no_other_down(outbox: Outbox, ledger: ScriptedLedger) -> None:
    deliveries = [outbox.deliver(UsageEvent(event_id=name), wait_s=5) for name in ("a", "bad", "b")]
    results = await asyncio.gather(*deliveries, return_exceptions=True)
    assert [type(result).__name__ for result in results] == ["NoneType", "InvalidArgument", "NoneType"]
    assert ledger.taken == ["a", "b"]


async def test_what_waits_is_flushed_at_the_end(ledger: ScriptedLedger) -> None:
    outbox = Outbox(ledger)
    with pytest.raises(Unavailable):
        await outbox.deliver(UsageEvent(event_id="a"), wait_s=0.001)
    await outbox.flush(wait_s=1)
    assert ledger.taken == ["a"]

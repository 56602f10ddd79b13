"""Leases: how many at once, how many a minute."""

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from common.errors import AtCapacity, NotFound, RateLimited
from license.leases import WINDOW_MS, LeaseTable
from tests.fakes.licenses import ManualClock, make_license

LEASE_MS = 30_000
SECRET = b"secret"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def table(clock: ManualClock) -> LeaseTable:
    return LeaseTable(clock, SECRET, lease_ms=LEASE_MS)


def test_a_limit_of_two_lets_two_in(table: LeaseTable) -> None:
    document = make_license(max_concurrent=2)
    first, _ = table.acquire(document, "a")
    table.acquire(document, "b")
    with pytest.raises(AtCapacity) as caught:
        table.acquire(document, "c")
    assert caught.value.details == {"limit": 2} and caught.value.retry_after_s
    table.release(first.lease_id)
    table.acquire(document, "c")


def test_keys_do_not_share_their_limits(table: LeaseTable) -> None:
    table.acquire(make_license("key-1", max_concurrent=1), "a")
    table.acquire(make_license("key-2", max_concurrent=1), "a")
    assert (table.held("key-1"), table.held("key-2")) == (1, 1)


def test_zero_is_no_limit(table: LeaseTable) -> None:
    for number in range(200):
        assert table.acquire(make_license(), str(number))[1] == 0


def test_asking_again_answers_the_same_lease_and_counts_once(table: LeaseTable, clock: ManualClock) -> None:
    document = make_license(max_concurrent=1, requests_per_minute=1)
    first, left = table.acquire(document, "a")
    clock.pass_ms(1000)
    again, _ = table.acquire(document, "a")
    assert again.lease_id == first.lease_id and again.expires_ms == first.expires_ms + 1000
    assert left == 0 and table.held("key-1") == 1


def test_releasing_twice_changes_nothing(table: LeaseTable) -> None:
    lease, _ = table.acquire(make_license(), "a")
    table.acquire(make_license(), "b")
    assert [table.release(lease.lease_id) for _ in range(2)] == [True, False]
    assert not table.release("never-there")
    assert table.held("key-1") == 1


def test_a_lease_lapses_unless_it_is_renewed(table: LeaseTable, clock: ManualClock) -> None:
    document = make_license(max_concurrent=1)
    lease, _ = table.acquire(document, "a")
    for _ in range(5):
        clock.pass_ms(LEASE_MS - 1)
        lease = table.renew(lease.lease_id)
    clock.pass_ms(LEASE_MS)
    assert table.held("key-1") == 0
    table.acquire(document, "b")


def test_a_short_lease_lapses_before_longer_ones_and_is_a_whole_one_once_renewed(
    table: LeaseTable, clock: ManualClock
) -> None:
    document = make_license(max_concurrent=3)
    table.acquire(document, "long")
    offered, _ = table.acquire(document, "offered", lease_ms=100)
    taken, _ = table.acquire(document, "taken", lease_ms=100)
    table.renew(taken.lease_id)
    clock.pass_ms(100)
    assert table.sweep() == 1 and table.held("key-1") == 2
    assert not table.release(offered.lease_id)
    clock.pass_ms(LEASE_MS - 100)
    assert table.sweep() == 2 and len(table) == 0


def test_a_renewed_lease_survives_a_restart(table: LeaseTable, clock: ManualClock) -> None:
    lease, _ = table.acquire(make_license(max_concurrent=1), "a")
    restarted = LeaseTable(clock, SECRET, lease_ms=LEASE_MS)
    assert restarted.renew(lease.lease_id).lease_id == lease.lease_id
    with pytest.raises(AtCapacity):
        restarted.acquire(make_license(max_concurrent=1), "b")
    assert restarted.release(lease.lease_id)


@pytest.mark.parametrize(
    "name", ["", "x", "key-1.00", "key-1.00.00", "key-1.0011223344556677." + "0" * 32, "ä.ö.ü"]
)
def test_a_lease_that_was_never_given_is_not_found(table: LeaseTable, name: str) -> None:
    with pytest.raises(NotFound):
        table.renew(name)


def test_requests_per_minute_slide(table: LeaseTable, clock: ManualClock) -> None:
    document = make_license(requests_per_minute=2)
    assert table.acquire(document, "a")[1] == 1
    clock.pass_ms(10_000)
    assert table.acquire(document, "b")[1] == 0
    clock.pass_ms(20_000)
    with pytest.raises(RateLimited) as caught:
        table.acquire(document, "c")
    assert caught.value.retry_after_s == 30.0
    clock.pass_ms(30_000)
    table.acquire(document, "c")


def test_a_refused_request_uses_nothing_up(table: LeaseTable, clock: ManualClock) -> None:
    document = make_license(max_concurrent=1, requests_per_minute=2)
    lease, _ = table.acquire(document, "a")
    for _ in range(5):
        with pytest.raises(AtCapacity):
            table.acquire(document, "b")
    table.release(lease.lease_id)
    assert table.acquire(document, "b")[1] == 0


def test_idle_keys_are_forgotten(table: LeaseTable, clock: ManualClock) -> None:
    table.count_start(make_license(requests_per_minute=5))
    clock.pass_ms(WINDOW_MS)
    table.forget_idle_keys()
    assert not table._starts


class Leases(RuleBasedStateMachine):
    """Whatever happens, no key runs more than its licence allows, and the counts are those of a plain list."""

    LIMIT = 3

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.table = LeaseTable(self.clock, SECRET, lease_ms=LEASE_MS)
        self.alive: dict[str, tuple[str, int]] = {}  # request id -> lease id, expiry

    def expire(self) -> None:
        self.alive = {name: held for name, held in self.alive.items() if held[1] > self.clock.now_ms}

    @rule(name=st.sampled_from("abcdef"))
    def acquire(self, name: str) -> None:
        self.expire()
        document = make_license(max_concurrent=self.LIMIT)
        if name not in self.alive and len(self.alive) >= self.LIMIT:
            with pytest.raises(AtCapacity):
                self.table.acquire(document, name)
            return
        lease, _ = self.table.acquire(document, name)
        self.alive[name] = (lease.lease_id, self.clock.now_ms + LEASE_MS)

    @rule(name=st.sampled_from("abcdef"))
    def release(self, name: str) -> None:
        self.expire()
        lease_id, _ = self.alive.pop(name, ("none", 0))
        self.table.release(lease_id)

    @rule(name=st.sampled_from("abcdef"))
    def renew(self, name: str) -> None:
        self.expire()
        if name in self.alive:
            lease = self.table.renew(self.alive[name][0])
            self.alive[name] = (lease.lease_id, self.clock.now_ms + LEASE_MS)

    @rule(ms=st.integers(1, 2 * LEASE_MS))
    def wait(self, ms: int) -> None:
        self.clock.pass_ms(ms)

    @invariant()
    def counts_agree(self) -> None:
        self.expire()
        assert self.table.held("key-1") == len(self.alive) <= self.LIMIT
        assert len(self.table) == len(self.table._by_request) == len(self.alive)


TestLeases = Leases.TestCase
TestLeases.settings = hypothesis_settings(max_examples=50, stateful_step_count=30, deadline=None)

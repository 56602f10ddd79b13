"""Leases: how many requests of a key run at once, and how many began in the last minute. No I/O."""

import hashlib
import heapq
import hmac
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from common.errors import AtCapacity, NotFound, RateLimited
from license.keys import License

WINDOW_MS = 60_000


@dataclass(frozen=True, slots=True)
class Lease:
    """Leave to run one request; lapses at `expires_ms` of the table's clock."""

    lease_id: str
    key_id: str
    request_id: str
    expires_ms: int


class LeaseTable:
    """Leases of every key, in memory.

    The name of a lease carries its key id and a signature, so after a restart of the service the leases of running
    requests come back by themselves when they are renewed: nobody is cut off and the count is right again.

    Args:
        now_ms: a clock that never jumps.
        secret: signs the names.
        lease_ms: how long a lease lives without being renewed.
    """

    def __init__(self, now_ms: Callable[[], int], secret: bytes, *, lease_ms: int) -> None:
        self.lease_ms = lease_ms
        self._now_ms = now_ms
        self._secret = secret
        self._leases: dict[str, Lease] = {}  # by lease id
        self._ends: list[tuple[int, str]] = []  # heap of when a lease would lapse, past renewals included
        self._by_request: dict[tuple[str, str], str] = {}  # (key id, request id) -> lease id
        self._held: dict[str, int] = {}  # by key id
        self._starts: dict[str, deque[int]] = {}  # by key id: when requests of the last minute began

    def __len__(self) -> int:
        return len(self._leases)

    def held(self, key_id: str) -> int:
        """Leases of a key right now."""
        self.sweep()
        return self._held.get(key_id, 0)

    def acquire(self, document: License, request_id: str, *, lease_ms: int = 0) -> tuple[Lease, int]:
        """Takes a lease; the same request id gets the same lease and counts once.

        Args:
            document: whose request it is.
            request_id: which one.
            lease_ms: how long it lives until it is renewed; 0 is as long as after that.

        Returns:
            The lease, and the requests left in this minute (0 when there is no such limit).

        Raises:
            AtCapacity: as many requests of the key run as its licence allows.
            RateLimited: as many began within a minute.
        """
        self.sweep()
        key_id = document.key_id
        known = self._by_request.get((key_id, request_id))
        if known is not None:
            return self._keep(self._leases[known]), self._left(document)
        limit = document.limits.max_concurrent
        if limit and self._held.get(key_id, 0) >= limit:
            raise AtCapacity(f"The license allows {limit} requests at once.", limit=limit)
        self.count_start(document)
        expires_ms = self._now_ms() + (lease_ms or self.lease_ms)
        lease = Lease(self._name(key_id), key_id, request_id, expires_ms)
        self._put(lease)
        return lease, self._left(document)

    def count_start(self, document: License) -> None:
        """Counts a request against the limit per minute; a refused one does not count.

        Raises:
            RateLimited: the limit is reached. Retry advice: when the oldest request leaves the window.
        """
        limit = document.limits.requests_per_minute
        if not limit:
            return
        now = self._now_ms()
        starts = self._starts.setdefault(document.key_id, deque())
        _drop_old(starts, now)
        if len(starts) >= limit:
            wait_s = (starts[0] + WINDOW_MS - now) / 1000
            message = f"The license allows {limit} requests per minute."
            raise RateLimited(message, retry_after_s=max(wait_s, 0.001), limit=limit)
        starts.append(now)

    def renew(self, lease_id: str) -> Lease:
        """Keeps a lease for another `lease_ms`; one that lapsed or was lost in a restart comes back.

        Raises:
            NotFound: the name is not one of ours.
        """
        self.sweep()
        lease = self._leases.get(lease_id)
        if lease is not None:
            return self._keep(lease)
        key_id, _, rest = lease_id.partition(".")
        nonce, _, tag = rest.partition(".")
        if not hmac.compare_digest(tag.encode(), self._tag(key_id, nonce).encode()):
            raise NotFound("There is no such lease.")
        lease = Lease(lease_id, key_id, lease_id, self._now_ms() + self.lease_ms)
        self._put(lease)
        return lease

    def remaining_ms(self, lease: Lease) -> int:
        """How long a lease still lives unless it is renewed."""
        return max(lease.expires_ms - self._now_ms(), 0)

    def release(self, lease_id: str) -> bool:
        """Gives a lease back; False when it was not there (any more)."""
        lease = self._leases.pop(lease_id, None)
        if lease is None:
            return False
        self._by_request.pop((lease.key_id, lease.request_id), None)
        self._held[lease.key_id] -= 1
        if not self._held[lease.key_id]:
            del self._held[lease.key_id]
        return True

    def sweep(self) -> int:
        """Drops leases that lapsed and minutes that passed; returns how many leases lapsed."""
        now, lapsed = self._now_ms(), 0
        while self._ends and self._ends[0][0] <= now:
            lease = self._leases.get(heapq.heappop(self._ends)[1])
            if lease is not None and lease.expires_ms <= now:  # else it was released, or renewed since
                self.release(lease.lease_id)
                lapsed += 1
        return lapsed

    def forget_idle_keys(self) -> None:
        """Drops the windows of keys without a request in the last minute."""
        now = self._now_ms()
        for key_id, starts in list(self._starts.items()):
            _drop_old(starts, now)
            if not starts:
                del self._starts[key_id]

    def _left(self, document: License) -> int:
        limit = document.limits.requests_per_minute
        return max(limit - len(self._starts.get(document.key_id, ())), 0) if limit else 0

    def _put(self, lease: Lease) -> None:
        self._leases[lease.lease_id] = lease
        heapq.heappush(self._ends, (lease.expires_ms, lease.lease_id))
        self._by_request[(lease.key_id, lease.request_id)] = lease.lease_id
        self._held[lease.key_id] = self._held.get(lease.key_id, 0) + 1

    def _keep(self, lease: Lease) -> Lease:
        kept = Lease(lease.lease_id, lease.key_id, lease.request_id, self._now_ms() + self.lease_ms)
        self._leases[lease.lease_id] = kept
        heapq.heappush(self._ends, (kept.expires_ms, kept.lease_id))
        return kept

    def _name(self, key_id: str) -> str:
        nonce = secrets.token_hex(8)
        return f"{key_id}.{nonce}.{self._tag(key_id, nonce)}"

    def _tag(self, key_id: str, nonce: str) -> str:
        return hmac.new(self._secret, f"{key_id}.{nonce}".encode(), hashlib.sha256).hexdigest()[:32]


def _drop_old(starts: deque[int], now_ms: int) -> None:
    while starts and starts[0] <= now_ms - WINDOW_MS:
        starts.popleft()

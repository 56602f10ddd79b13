"""What the edge is doing now, and how well the last requests went."""

from collections import Counter, deque

from common.pb.voxmesh.license.v1 import Kind

REMEMBERED = 200
_HTTP_SERVER_ERROR = 500
# Above the first share of good answers Deepgram's status says Healthy, below the second Critical.
_HEALTHY, _CRITICAL = 0.9, 0.4


class Activity:
    """Counts requests in flight by kind and remembers whether the last ones were served."""

    def __init__(self) -> None:
        self.closed = False  # no more requests are let in
        self._active: Counter[tuple[Kind, str]] = Counter()
        self._served: deque[bool] = deque(maxlen=REMEMBERED)

    def began(self, kind: Kind, dialect: str) -> None:
        self._active[kind, dialect] += 1

    def ended(self, kind: Kind, dialect: str, status: int) -> None:
        """`status` is HTTP's; only what the server got wrong counts against it."""
        self._active[kind, dialect] -= 1
        self._served.append(status < _HTTP_SERVER_ERROR)

    def active(self, *kinds: Kind, dialect: str = "") -> int:
        """Requests of these kinds, of one dialect if it is named."""
        return sum(
            count for (kind, name), count in self._active.items() if kind in kinds and dialect in ("", name)
        )

    @property
    def grade(self) -> str:
        """Ready before the first request, then Healthy, Degraded or Critical."""
        if not self._served:
            return "Ready"
        share = sum(self._served) / len(self._served)
        return "Healthy" if share > _HEALTHY else "Critical" if share < _CRITICAL else "Degraded"

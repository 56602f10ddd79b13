"""Who decodes next, of the live channels that share an engine, and how far behind the engine is.

What closes an utterance goes at once. The rest waits for one of few places: finals that are begun in a pause first,
then interims of an utterance that has shown nothing yet, then whoever waited longest since its last one. Those who
wait longest never get the last place, so the others find one free. A job is made when its turn comes, so it holds the
newest audio, and under load interims get rarer instead of late.
"""

import time
from collections.abc import Callable
from enum import IntEnum

# The measured delay follows this share of each new one, and is halved by so much time without any.
_FOLLOW = 0.2
_FORGET_S = 5.0


class Urgency(IntEnum):
    """Of a decode, most urgent first."""

    CLOSING = 0  # of finals and cuts
    PAUSED = 1  # of a final that will be wanted if nobody goes on speaking
    FIRST = 2  # nothing was shown of the utterance
    LATER = 3


class Turns:
    """The places of one engine.

    Args:
        at_once: what closes nothing starts while fewer live decodes than this are in flight; the last of these places is
            for what is more urgent than a later interim.
        clock: seconds, monotonic.
    """

    def __init__(self, at_once: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._at_once, self._clock = at_once, clock
        self._busy: dict[object, tuple[Urgency, float]] = {}  # urgency and beginning of each decode in flight
        self._served: dict[object, int] = {}  # number of the last turn of each channel that had one
        self._count = 0
        self._waiting: dict[object, tuple[Urgency, Callable[[], None]]] = {}
        self._delay_s, self._measured_s = 0.0, 0.0

    @property
    def delay_s(self) -> float:
        """How long a decode that closes an utterance takes at present, waiting included."""
        longest = max(
            (self._clock() - begun for urgency, begun in self._busy.values() if urgency <= Urgency.PAUSED),
            default=0.0,
        )
        return max(self._faded(), longest)

    def ask(self, channel: object, urgency: Urgency, wake: Callable[[], None]) -> bool:
        """Whether the channel may start a decode now; if not, `wake` is called when it may ask again."""
        self._waiting.pop(channel, None)
        if urgency is Urgency.CLOSING or self._has_place(urgency):
            return True
        self._waiting[channel] = (urgency, wake)
        return False

    def begin(self, channel: object, urgency: Urgency) -> None:
        """The channel decodes."""
        self._count += 1
        self._served[channel] = self._count
        self._busy[channel] = (urgency, self._clock())

    def end(self, channel: object, *, finished: bool = True) -> None:
        """It does no more; the next in line are woken. `finished`: it was not given up."""
        urgency, begun = self._busy.pop(channel)
        if finished and urgency <= Urgency.PAUSED:
            took_s = self._clock() - begun
            self._delay_s = self._faded() + _FOLLOW * (took_s - self._faded())
            self._measured_s = self._clock()
        while self._waiting:
            first = min(self._waiting, key=lambda c: (self._waiting[c][0], self._served.get(c, 0)))
            if not self._has_place(self._waiting[first][0]):
                return
            self._waiting.pop(first)[1]()

    def leave(self, channel: object) -> None:
        """The channel is gone."""
        self._waiting.pop(channel, None)
        self._served.pop(channel, None)

    def _has_place(self, urgency: Urgency) -> bool:
        kept = 1 if urgency is Urgency.LATER and self._at_once > 1 else 0
        return len(self._busy) < self._at_once - kept

    def _faded(self) -> float:
        left: float = 0.5 ** ((self._clock() - self._measured_s) / _FORGET_S)
        return self._delay_s * left

"""The engine thread: it alone runs the model, on all requests at once.

One turn gathers (drops what was cancelled, admits what waits into free slots and encodes its audio), steps (one
call of the decoder for every active request, whether it reads a prompt or wants its next token) and scatters.
"""

import asyncio
import heapq
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from asr.engine.job import Job, Stage
from asr.engine.slots import SlotTable
from asr.model import SAMPLE_RATE_HZ, DecodeRequest, DecodeResult, Priority
from asr.models.decoder import Segment
from asr.models.select import choose
from asr.models.whisper import Whisper
from common.errors import AtCapacity, Internal, Unavailable, VoxmeshError
from common.logs import get_logger

log = get_logger()

ENCODE_BUDGET_S = 30.0  # audio that may be encoded between two steps of those who already decode
STALL_S = 10.0  # a turn that takes longer has stalled
_SEED = 0

Outcome = DecodeResult | VoxmeshError


@dataclass(order=True, slots=True)
class _Ticket:
    """A request in the queue or in slots, and where its outcome goes."""

    priority: Priority
    number: int
    job: Job = field(compare=False)
    future: asyncio.Future[DecodeResult] = field(compare=False)
    loop: asyncio.AbstractEventLoop = field(compare=False)
    cancelled: bool = field(default=False, compare=False)  # written by the event loop, read by the thread


class EngineThread:
    """Continuous batching over the slots of one model.

    Args:
        model: owned by the thread from now on.
        make_job: builds the job of a request; runs in the caller's thread and may raise InvalidArgument.
        end_of_text: logits behind this token are not text.
        pending_max: requests that may wait; more are refused with AtCapacity.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        model: Whisper,
        make_job: Callable[[DecodeRequest], Job],
        *,
        end_of_text: int,
        pending_max: int,
        name: str = "asr-engine",
        stall_s: float = STALL_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model, self._make_job = model, make_job
        self._texts = end_of_text + 1
        self._pending_max, self._stall_s, self._clock = pending_max, stall_s, clock
        self._slots: SlotTable[_Ticket] = SlotTable(model.slots)
        self._active: list[_Ticket] = []
        self._pending: list[_Ticket] = []
        self._wake = threading.Condition()
        self._closing = False
        self._numbers = 0
        self._turn_began: float | None = None
        self._generator = torch.Generator(model.device).manual_seed(_SEED)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def healthy(self) -> bool:
        """False while a turn takes longer than `stall_s`, or after the thread ended."""
        began = self._turn_began
        stalled = began is not None and self._clock() - began > self._stall_s
        return self._thread.is_alive() and not stalled

    @property
    def waiting(self) -> int:
        """Requests that have no slot yet."""
        return len(self._pending)

    @property
    def slots_taken(self) -> int:
        """Slots in use."""
        return self._slots.active

    async def submit(self, request: DecodeRequest) -> DecodeResult:
        """Decodes one request; cancelling the caller frees what it holds within one turn.

        Raises:
            AtCapacity: too many wait.
            Unavailable: the engine has stopped.
        """
        loop = asyncio.get_running_loop()
        job = self._make_job(request)
        with self._wake:
            if self._closing or not self._thread.is_alive():
                raise Unavailable("the recogniser has stopped")
            if len(self._pending) >= self._pending_max:
                raise AtCapacity("the recogniser is busy", retry_after_s=1.0)
            self._numbers += 1
            ticket = _Ticket(request.priority, self._numbers, job, loop.create_future(), loop)
            heapq.heappush(self._pending, ticket)
            self._wake.notify()
        try:
            return await ticket.future
        finally:
            ticket.cancelled = True

    def close(self) -> None:
        """Stops the thread; whoever waits gets Unavailable. Blocks until the present turn ends."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()

    # --- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._wake:
                self._turn_began = None
                while not (self._pending or self._active or self._closing):
                    self._wake.wait()
                if self._closing:
                    break
                self._turn_began = self._clock()
            outcomes: list[tuple[_Ticket, Outcome]] = []
            try:
                self._gather()
                outcomes = self._step()
            except Exception as error:
                log.error(
                    "engine_turn_failed", error=type(error).__name__, active=len(self._active), exc_info=True
                )
                outcomes = [
                    (ticket, Internal("the recogniser failed on this audio")) for ticket in self._active
                ]
            for ticket, _ in outcomes:
                self._release(ticket)
            _scatter(outcomes)
        with self._wake:
            rest = [*self._active, *self._pending]
            self._active, self._pending = [], []
        _scatter([(ticket, Unavailable("the recogniser has stopped")) for ticket in rest])

    def _gather(self) -> None:
        for ticket in [ticket for ticket in self._active if ticket.cancelled]:
            self._release(ticket)
        admitted: list[_Ticket] = []
        seconds, free = 0.0, self._slots.free
        with self._wake:
            while self._pending and seconds < ENCODE_BUDGET_S:
                ticket = self._pending[0]
                if ticket.cancelled:
                    heapq.heappop(self._pending)
                    continue
                if ticket.job.rows_needed > free:
                    break  # first come, first served: a wide beam is not overtaken for ever
                heapq.heappop(self._pending)
                admitted.append(ticket)
                free -= ticket.job.rows_needed
                seconds += len(ticket.job.request.pcm) / SAMPLE_RATE_HZ
        if not admitted:
            return
        for ticket in admitted:
            ticket.job.rows = [self._slots.acquire(ticket)[0] for _ in range(ticket.job.rows_needed)]
            self._active.append(ticket)
            ticket.job.mark_started()
        requests = [ticket.job.request for ticket in admitted]
        encoded = self._model.encode([r.pcm for r in requests], [r.interim for r in requests])
        for ticket, states in zip(admitted, encoded, strict=True):
            self._model.hear(ticket.job.rows[0], states)
            ticket.job.begin()

    def _step(self) -> list[tuple[_Ticket, Outcome]]:
        tickets = sorted(self._active, key=lambda ticket: ticket.job.rows[0])
        if not tickets:
            return []
        segments: list[Segment] = []
        parts = []
        first = 0
        for ticket in tickets:
            mine = ticket.job.segments()
            segments += mine
            count = sum(len(segment.wanted) for segment in mine)
            parts.append((ticket, first, first + ticket.job.raw_answers, first + count))
            first += count
        logits = self._model.forward(segments)  # [first, n_logits]
        asks = [ask for ticket in tickets for ask in ticket.job.asks()]
        asked = [row for _, _, begin, end in parts for row in range(begin, end)]
        texts = logits if len(asked) == first else logits[asked]
        answers = iter(choose(texts[:, : self._texts], asks, self._generator) if asks else [])
        done: list[tuple[_Ticket, Outcome]] = []
        for ticket, first, begin, end in parts:
            raw = logits[first] if begin > first else None
            ticket.job.take(raw, [next(answers) for _ in range(begin, end)])
            if ticket.job.stage is Stage.DONE and ticket.job.result is not None:
                done.append((ticket, ticket.job.result))
        return done

    def _release(self, ticket: _Ticket) -> None:
        """Frees the rows of a job; rows that move into the holes follow in the cache and in their job."""
        if ticket not in self._active:
            return
        self._active.remove(ticket)
        for row in sorted(ticket.job.rows, reverse=True):
            if (moved := self._slots.release(row)) is not None:
                source, owner = moved
                self._model.cache.move(source, row)
                owner.job.rows[owner.job.rows.index(source)] = row
        ticket.job.rows = []


def _scatter(outcomes: list[tuple[_Ticket, Outcome]]) -> None:
    """Delivers the outcomes of a turn with one wake-up per event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Ticket, Outcome]]] = {}
    for ticket, outcome in outcomes:
        by_loop.setdefault(ticket.loop, []).append((ticket, outcome))
    for loop, batch in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_deliver, batch)


def _deliver(batch: list[tuple[_Ticket, Outcome]]) -> None:
    for ticket, outcome in batch:
        if ticket.future.done():
            continue
        if isinstance(outcome, VoxmeshError):
            ticket.future.set_exception(outcome)
        else:
            ticket.future.set_result(outcome)

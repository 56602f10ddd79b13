"""Runs the processes of a mesh: starts them together, watches them, brings back what falls, stops in order."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cli.child import Child, Exit
from cli.events import Event, Sink
from cli.probes import Probe

POLL_STARTING_S = 0.1
POLL_RUNNING_S = 1.0


@dataclass(frozen=True, slots=True)
class Program:
    """One process of the mesh.

    Attributes:
        env: variables on top of ours; None takes one away.
        ready: asks whether it takes work.
        alive: asks whether it still lives; one that does not answer for `stalled_after_s` is started again.
        stop_rank: programs with a lower rank stop first; equal ranks stop together.
        port: the port people use, for the line that says it is ready.
    """

    name: str
    argv: tuple[str, ...]
    ready: Probe
    env: Mapping[str, str | None] = field(default_factory=dict, repr=False)
    alive: Probe | None = None
    stop_rank: int = 0
    port: int = 0
    grace_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long things may take."""

    backoff_s: tuple[float, ...] = (0.5, 1, 2, 4, 8, 15, 30)
    # A process that was up this long starts over at the shortest back-off.
    steady_s: float = 60.0
    # One that never was ready and fell this often will not come up by itself.
    hopeless_after: int = 4
    stalled_after_s: float = 30.0
    # Open requests get this long at the end, once for all programs; one that stops later is told to hurry ...
    grace_s: float = 10.0
    # ... but gets this long in any case.
    least_grace_s: float = 1.0


class Hopeless(Exception):
    """A process that cannot be started; `program` names it."""

    def __init__(self, program: str) -> None:
        super().__init__(f"{program} does not start")
        self.program = program


class Watched:
    """One program and the processes that have run it."""

    def __init__(self, program: Program, log: Path, tell: Sink, patience: Patience) -> None:
        self.program = program
        self._log, self._tell, self._patience = log, tell, patience
        self.child: Child | None = None
        self.ready = asyncio.Event()
        self._was_ready = False
        self._stopping = False

    async def keep_running(self) -> None:
        """Starts the process again whenever it ends, until `stop`.

        Raises:
            Hopeless: it ended with a settings error, or again and again before it was ever ready.
        """
        falls = 0
        while not self._stopping:
            begin = time.monotonic()
            ended = await self._run_once(begin)
            if self._stopping:
                return
            if time.monotonic() - begin > self._patience.steady_s:
                falls = 0
            falls += 1
            if ended.is_refusal or (not self._was_ready and falls >= self._patience.hopeless_after):
                why = {"why": ended.why, "log": str(self._log), "tail": ended.tail}
                self._tell(Event("gave_up", self.program.name, why))
                raise Hopeless(self.program.name)
            pause = self._patience.backoff_s[min(falls, len(self._patience.backoff_s)) - 1]
            last = ended.tail[-1] if ended.tail else ""
            fields = {"why": ended.why, "retry_in_s": pause, "log": str(self._log), "last_line": last}
            self._tell(Event("crashed", self.program.name, fields))
            await asyncio.sleep(pause)

    async def stop(self, hurry_after_s: float) -> None:
        """SIGTERM, once more after `hurry_after_s`, SIGKILL after the grace."""
        self._stopping = True
        if self.child is not None:
            begin = time.monotonic()
            self._tell(Event("stopping", self.program.name))
            await self.child.stop(self.program.grace_s, hurry_after_s)
            took_s = round(time.monotonic() - begin, 2)
            self._tell(Event("stopped", self.program.name, {"took_s": took_s}))

    def kill(self) -> None:
        """At once and without ceremony."""
        self._stopping = True
        if self.child is not None:
            self.child.kill()

    async def _run_once(self, begin: float) -> Exit:
        program = self.program
        self.child = child = await Child.start(
            program.argv, program.env, self._log, on_milestone=self._milestone
        )
        self._tell(Event("starting", program.name, {"pid": child.pid}))
        watch = asyncio.create_task(self._watch(child, begin), name=f"watch {program.name}")
        try:
            return await child.wait()
        finally:
            watch.cancel()
            self.ready.clear()
            if child.is_running:  # we are being cancelled
                child.kill()

    async def _watch(self, child: Child, begin: float) -> None:
        waiting_for, answered_at = "", time.monotonic()
        while True:
            reason = await self.program.ready()
            if self._stopping:
                return
            if reason is None and not self.ready.is_set():
                self.ready.set()
                self._was_ready = True
                took = round(time.monotonic() - begin, 2)
                fields = {"pid": child.pid, "port": self.program.port, "took_s": took}
                self._tell(Event("ready", self.program.name, fields))
            elif reason is not None and self.ready.is_set():
                self.ready.clear()
                self._tell(Event("not_ready", self.program.name, {"reason": reason}))
            elif reason is not None and reason != waiting_for:
                waiting_for = reason
                self._tell(Event("waiting", self.program.name, {"reason": reason}))
            if self.program.alive is None or reason is None or await self.program.alive() is None:
                answered_at = time.monotonic()
            elif self._was_ready and time.monotonic() - answered_at > self._patience.stalled_after_s:
                child.kill()
            await asyncio.sleep(POLL_RUNNING_S if self.ready.is_set() else POLL_STARTING_S)

    def _milestone(self, line: str) -> None:
        self._tell(Event("milestone", self.program.name, {"line": line}))


class Supervisor:
    """All programs of one mesh."""

    def __init__(
        self, programs: Sequence[Program], log_dir: Path, tell: Sink, patience: Patience | None = None
    ) -> None:
        log_dir.mkdir(parents=True, exist_ok=True)
        self._tell, self._patience = tell, patience or Patience()
        self.watched = {
            program.name: Watched(program, log_dir / f"{program.name}.log", tell, self._patience)
            for program in programs
        }

    @property
    def pids(self) -> dict[str, int]:
        """Process of each program that runs now."""
        return {name: w.child.pid for name, w in self.watched.items() if w.child and w.child.is_running}

    async def run(self, stop: asyncio.Event, on_up: asyncio.Event) -> None:
        """Runs everything until `stop` is set; sets `on_up` once every program was ready at the same time.

        Raises:
            Hopeless: one of them cannot be started; the others are stopped before this is raised.
        """
        keepers = {asyncio.create_task(w.keep_running(), name=name): name for name, w in self.watched.items()}
        up = asyncio.create_task(self._announce_up(on_up), name="up")
        stopped = asyncio.create_task(stop.wait(), name="stop")
        try:
            await asyncio.wait({*keepers, stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            up.cancel()
            stopped.cancel()
            await self._stop_in_order()
            for keeper in keepers:
                keeper.cancel()
            results = await asyncio.gather(*keepers, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    def kill(self) -> None:
        """Ends every process at once."""
        for watched in self.watched.values():
            watched.kill()

    async def _announce_up(self, on_up: asyncio.Event) -> None:
        while not all(watched.ready.is_set() for watched in self.watched.values()):
            await asyncio.gather(*(watched.ready.wait() for watched in self.watched.values()))
        on_up.set()

    async def _stop_in_order(self) -> None:
        ranks = sorted({watched.program.stop_rank for watched in self.watched.values()})
        deadline = time.monotonic() + self._patience.grace_s
        for rank in ranks:
            group = [w for w in self.watched.values() if w.program.stop_rank == rank]
            left_s = max(deadline - time.monotonic(), self._patience.least_grace_s)
            await asyncio.gather(*(watched.stop(left_s) for watched in group))

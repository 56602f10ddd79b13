"""One child process: its output in a log file, its end explained, its life tied to ours."""

import asyncio
import os
import signal
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Self

from cli.lifeline import tie_to_parent

# Lines of a process that are meant for the person who watches.
MILESTONES = ("✓", "⚠", "✗", "…")
TAIL_LINES = 8
MAX_LINE_BYTES = 1 << 20
MAX_LOG_BYTES = 64 << 20
EXIT_BAD_SETTINGS = 2


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended, with the last lines it wrote."""

    code: int
    tail: list[str] = field(default_factory=list)

    @property
    def why(self) -> str:
        """In words."""
        if self.code < 0:
            return f"killed by {signal.Signals(-self.code).name}"
        return f"exit code {self.code}"

    @property
    def is_refusal(self) -> bool:
        """It read its settings and will not start with them, however often it is tried."""
        return self.code == EXIT_BAD_SETTINGS


class Child:
    """A running process."""

    def __init__(
        self, process: asyncio.subprocess.Process, log: IO[bytes], on_milestone: Callable[[str], None]
    ) -> None:
        self._process, self._log, self._on_milestone = process, log, on_milestone
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._pump = asyncio.create_task(self._copy_output(), name=f"output of {process.pid}")

    @classmethod
    async def start(
        cls,
        argv: Sequence[str],
        env: Mapping[str, str | None],
        log: Path,
        *,
        on_milestone: Callable[[str], None],
    ) -> Self:
        """Starts it in a session of its own (a terminal's Ctrl-C reaches only us) with output to `log`."""
        if log.exists() and log.stat().st_size > MAX_LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))
        out = log.open("ab", buffering=0)
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                env={name: value for name, value in {**os.environ, **env}.items() if value is not None},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                limit=MAX_LINE_BYTES,
                start_new_session=True,
                preexec_fn=tie_to_parent(),
            )
        except OSError:
            out.close()
            raise
        return cls(process, out, on_milestone)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.returncode is None

    async def wait(self) -> Exit:
        """Waits for its end."""
        code = await self._process.wait()
        # Its own children may hold the pipe open; what it said last is there already.
        with suppress(TimeoutError):
            await asyncio.wait_for(self._pump, 1.0)
        self._log.close()
        return Exit(code, list(self._tail))

    async def stop(self, grace_s: float, hurry_after_s: float) -> None:
        """SIGTERM, once more after `hurry_after_s`, then SIGKILL to its whole session after `grace_s`."""
        first_s = min(hurry_after_s, grace_s)
        for pause_s in (first_s, grace_s - first_s):
            if self.is_running:
                self._process.terminate()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._process.wait(), pause_s)
        self.kill()
        await self._process.wait()

    def kill(self) -> None:
        """SIGKILL to it and to what it started."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def _copy_output(self) -> None:
        assert self._process.stdout
        while True:
            try:
                line = await self._process.stdout.readline()
            except ValueError:  # a line longer than the limit; its rest follows as lines of its own
                continue
            if not line:
                return
            self._log.write(line)
            text = line.decode(errors="replace").rstrip()
            if text:
                self._tail.append(text[:400])
            if text.startswith(MILESTONES):
                self._on_milestone(text)

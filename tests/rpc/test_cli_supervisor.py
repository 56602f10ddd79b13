"""The supervisor with small stand-in processes."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from cli.events import Event
from cli.ports import free_ports, taken_ports
from cli.probes import Probe, ready, responds
from cli.supervisor import Hopeless, Patience, Program, Supervisor

QUICK = Patience(backoff_s=(0.05, 0.1), hopeless_after=3, stalled_after_s=0.5)

# Answers 200 to anything once it listens; ends on SIGTERM unless told to be deaf.
SERVER = """
import http.server, signal, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "0"); self.end_headers()
    def log_message(self, *args): pass
if "deaf" in sys.argv: signal.signal(signal.SIGTERM, signal.SIG_IGN)
else: signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("✓ Server ready", flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def server(name: str, *words: str, rank: int = 0, grace_s: float = 3.0) -> Program:
    port = free_ports(1)[0]
    argv = (sys.executable, "-c", SERVER, str(port), *words)
    alive = responds(port, "/health")
    return Program(name, argv, ready=ready(port), alive=alive, stop_rank=rank, grace_s=grace_s)


def script(name: str, code: str) -> Program:
    async def never() -> str | None:
        return "never"

    return Program(name, (sys.executable, "-c", code), ready=never)


class Run:
    """A supervisor at work, and everything it said."""

    def __init__(self, programs: list[Program], log_dir: Path, patience: Patience = QUICK) -> None:
        self.events: list[Event] = []
        self.supervisor = Supervisor(programs, log_dir, self.events.append, patience)
        self.stop, self.is_up = asyncio.Event(), asyncio.Event()
        self.task = asyncio.create_task(self.supervisor.run(self.stop, self.is_up))

    def kinds(self, service: str) -> list[str]:
        return [event.kind for event in self.events if event.service == service]

    async def until(self, holds: Callable[[], bool], within_s: float = 10.0) -> None:
        async with asyncio.timeout(within_s):
            while not holds():
                await asyncio.sleep(0.02)


@asynccontextmanager
async def running(programs: list[Program], log_dir: Path) -> AsyncIterator[Run]:
    run = Run(programs, log_dir)
    try:
        await asyncio.wait_for(run.is_up.wait(), 10)
        yield run
    finally:
        run.stop.set()
        await run.task


async def test_everything_becomes_ready_and_stops_in_order(tmp_path: Path) -> None:
    async with running([server("b", rank=1), server("a"), server("c", rank=2)], tmp_path) as run:
        pids = run.supervisor.pids
        assert set(pids) == {"a", "b", "c"}
    stopped = [event.service for event in run.events if event.kind == "stopped"]
    assert stopped == ["a", "b", "c"]
    assert not any(psutil.pid_exists(pid) for pid in pids.values())


async def test_a_killed_process_comes_back(tmp_path: Path) -> None:
    async with running([server("a"), server("b")], tmp_path) as run:
        first = run.supervisor.pids["a"]
        os.kill(first, signal.SIGKILL)
        await run.until(lambda: run.kinds("a").count("ready") == 2)
        assert run.supervisor.pids["a"] != first
        crashed = next(event for event in run.events if event.kind == "crashed")
        assert crashed.service == "a" and crashed.fields["why"] == "killed by SIGKILL"
        assert run.kinds("b").count("ready") == 1


async def test_a_frozen_process_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.probes.TIMEOUT_S", 0.2)
    async with running([server("a")], tmp_path) as run:
        os.kill(run.supervisor.pids["a"], signal.SIGSTOP)
        await run.until(lambda: run.kinds("a").count("ready") == 2)
        assert "not_ready" in run.kinds("a")


async def test_a_process_deaf_to_sigterm_is_killed(tmp_path: Path) -> None:
    async with running([server("a", "deaf", grace_s=0.3)], tmp_path) as run:
        pid = run.supervisor.pids["a"]
        begin = time.monotonic()
    assert time.monotonic() - begin < 3
    assert not psutil.pid_exists(pid)


# Ends on the second SIGTERM only, as a service does that still has open calls.
HESITANT = """
import signal, sys
asked = []
def on_term(*_):
    asked.append(1)
    if len(asked) == 2: sys.exit(0)
    print("… Finishing 1 open call", flush=True)
signal.signal(signal.SIGTERM, on_term)
print("✓ up", flush=True)
while True: signal.pause()
"""


async def test_the_grace_is_one_for_all_and_who_is_still_busy_is_told_to_hurry(tmp_path: Path) -> None:
    async def at_once() -> str | None:
        return None

    names = {"a": 0, "b": 1, "c": 2}
    programs = [
        Program(name, (sys.executable, "-c", HESITANT), ready=at_once, stop_rank=rank, grace_s=8)
        for name, rank in names.items()
    ]
    run = Run(programs, tmp_path, replace(QUICK, grace_s=0.6, least_grace_s=0.3))
    await run.until(lambda: all("milestone" in run.kinds(name) for name in names))
    begin = time.monotonic()
    run.stop.set()
    await run.task
    took = {event.service: event.fields["took_s"] for event in run.events if event.kind == "stopped"}
    assert took["a"] >= 0.6 and 0.3 <= took["b"] < 0.6 and 0.3 <= took["c"] < 0.6, took
    assert time.monotonic() - begin < 4, "nobody was waited for until SIGKILL"
    said = [event.fields["line"] for event in run.events if event.kind == "milestone"]
    assert said.count("… Finishing 1 open call") == 3


async def test_milestones_are_passed_on_and_all_output_is_logged(tmp_path: Path) -> None:
    async with running([server("a")], tmp_path) as run:
        await run.until(lambda: "milestone" in run.kinds("a"))
    assert "✓ Server ready" in (tmp_path / "a.log").read_text()


async def test_wrong_settings_are_not_tried_again(tmp_path: Path) -> None:
    code = "import sys; print('✗ asr cannot start: PORT: not a number'); sys.exit(2)"
    run = Run([server("a"), script("asr", code)], tmp_path)
    with pytest.raises(Hopeless, match="asr does not start"):
        await run.task
    assert run.kinds("asr").count("starting") == 1
    gave_up = next(event for event in run.events if event.kind == "gave_up")
    assert gave_up.fields["tail"] == ["✗ asr cannot start: PORT: not a number"]
    assert run.supervisor.pids == {}


async def test_a_process_that_never_comes_up_is_given_up(tmp_path: Path) -> None:
    run = Run([script("asr", "raise SystemExit(1)")], tmp_path)
    with pytest.raises(Hopeless):
        await run.task
    assert run.kinds("asr").count("starting") == QUICK.hopeless_after


async def test_stopping_does_not_wait_for_a_back_off(tmp_path: Path) -> None:
    run = Run([script("a", "raise SystemExit(1)")], tmp_path)
    await run.until(lambda: "starting" in run.kinds("a"))
    run.stop.set()
    await asyncio.wait_for(run.task, 3)


async def test_children_die_with_a_killed_command_line(tmp_path: Path) -> None:
    parent = """
import asyncio, sys
from pathlib import Path
from cli.child import Child
async def main():
    child = await Child.start([sys.executable, "-c", "import time; time.sleep(60)"], {}, Path(sys.argv[1]), on_milestone=print)
    print(child.pid, flush=True)
    await child.wait()
asyncio.run(main())
"""
    process = subprocess.Popen(
        [sys.executable, "-c", parent, str(tmp_path / "log")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    child = int(process.stdout.readline())
    assert psutil.pid_exists(child)
    process.kill()
    process.wait()
    process.stdout.close()
    deadline = time.monotonic() + 5
    while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the child outlived its parent"
        await asyncio.sleep(0.05)


async def test_a_taken_port_names_its_owner() -> None:
    port = free_ports(1)[0]
    listener = await asyncio.start_server(lambda *_: None, "127.0.0.1", port)
    async with listener:
        owners = taken_ports([port], "127.0.0.1")
    assert owners[port].pid == os.getpid()
    assert taken_ports([port], "127.0.0.1") == {}


async def test_a_probe_of_nothing_says_so() -> None:
    probe: Probe = ready(free_ports(1)[0])
    assert await probe() == "not answering yet"

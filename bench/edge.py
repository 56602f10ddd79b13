"""`voxmesh bench edge`: what the edge adds to many live streams, with a stand-in for all that is behind it."""

import argparse
import asyncio
import json
import math
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import psutil
import uvloop
from rich.console import Console
from rich.table import Table

from bench import edge_load as load
from bench.edge_standin import finals
from bench.worker import ROOT

HOST = "127.0.0.1"
START_S = 60.0
STOP_S = 20.0
OPENING_AT_ONCE = 50
# Audio since the last final is kept, so memory is steady only after a few finals.
SETTLED_S = 4.0
MIB = 1024 * 1024


def run(argv: Sequence[str]) -> int:
    """Runs the benchmark; the last line of its output is one JSON object."""
    parser = argparse.ArgumentParser("voxmesh bench edge", description=__doc__)
    parser.add_argument("--sockets", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--path", default="/v1/listen/stream", help="a socket of the Smallest dialect")
    parser.add_argument("--event-every", type=int, default=5, help="chunks between two events of a stream")
    parser.add_argument("--final-every", type=int, default=20, help="chunks between two finals of a stream")
    parser.add_argument("--delay-ms", type=float, default=0.0, help="the stand-in's own, not counted")
    parser.add_argument(
        "--in-step", action="store_true", help="all streams get their events at once: the worst case"
    )
    options = parser.parse_args(argv)
    try:
        report = uvloop.run(_measure(options))
    except (OSError, RuntimeError) as error:
        print(f"✗ {error}", file=sys.stderr)
        return 1
    _print(report)
    return 0


async def _measure(options: argparse.Namespace) -> dict[str, object]:
    with (
        tempfile.TemporaryDirectory() as state,
        _standin(options) as (standin, address),
        _edge(address, state) as (edge, port),
    ):
        await asyncio.to_thread(_wait_ready, edge, port)
        heard = load.Heard()
        sockets = await _open(options, port, heard)
        watched = {"edge": edge, "stand-in": standin, "load": psutil.Process()}
        before = {name: _cpu_s(process) for name, process in watched.items()}
        memory = asyncio.create_task(_memory(edge))
        await load.stream(sockets, heard, options.seconds, SETTLED_S / 2)
        memory.cancel()
        used = {name: _cpu_s(process) - before[name] for name, process in watched.items()}
        for one in sockets:
            one.end()
        await asyncio.wait({one.closed for one in sockets}, timeout=STOP_S)
        (samples,) = await asyncio.gather(memory)
    if not heard.latencies or not samples:
        raise RuntimeError("too short: nothing was measured")
    added = sorted(latency * 1000 - options.delay_ms for latency in heard.latencies)
    late = sorted(lag * 1000 for lag in heard.late)
    quarter = max(len(samples) // 4, 1)
    growth = statistics.median(samples[-quarter:]) - statistics.median(samples[:quarter])
    chunks = int(options.seconds * 1000 / load.CHUNK_MS)
    due = finals(len(sockets), chunks, options.final_every, in_step=options.in_step)
    return {
        "sockets": len(sockets),
        "seconds": options.seconds,
        "chunks": heard.sent,
        "events": len(added),
        "finals_missing": due - heard.finals,
        "sockets_broken": len(heard.broken),
        "added_latency_ms_p50": _percentile(added, 0.50),
        "added_latency_ms_p99": _percentile(added, 0.99),
        "added_latency_ms_max": _percentile(added, 1.0),
        "load_late_ms_p99": _percentile(late, 0.99),
        "load_late_ms_max": _percentile(late, 1.0),
        "rss_mb": round(samples[-1] / MIB, 1),
        "rss_growth_mb": round(growth / MIB, 1),
        "cores": {name: round(spent / options.seconds, 2) for name, spent in used.items()},
        "cpu_us_per_chunk": {name: round(spent / heard.sent * 1e6) for name, spent in used.items()},
    }


async def _open(options: argparse.Namespace, port: int, heard: load.Heard) -> list[load.Socket]:
    path = f"{options.path}?encoding=linear16&sample_rate=16000&language=en"
    loop = asyncio.get_running_loop()
    sockets: list[load.Socket] = []
    while len(sockets) < options.sockets:
        count = min(OPENING_AT_ONCE, options.sockets - len(sockets))
        made = [load.Socket(HOST, path, "key", heard) for _ in range(count)]
        for one in made:
            await loop.create_connection(lambda one=one: one, HOST, port)  # type: ignore[misc]
        await asyncio.gather(*(one.opened for one in made))
        sockets += made
    return sockets


async def _memory(process: psutil.Process) -> list[int]:
    """Resident bytes every half second, from SETTLED_S on, until cancelled."""
    samples: list[int] = []
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(SETTLED_S)
        while True:
            samples.append(process.memory_info().rss)
            await asyncio.sleep(0.5)
    return samples


@contextmanager
def _standin(options: argparse.Namespace) -> Iterator[tuple[psutil.Process, str]]:
    script = [
        str(one) for one in (options.event_every, options.final_every, options.delay_ms, options.in_step)
    ]
    with _process([sys.executable, "-m", "bench.edge_standin", *script], {}) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError("the stand-in did not start")
        yield process, f"{HOST}:{json.loads(line)['port']}"


@contextmanager
def _edge(address: str, state: str) -> Iterator[tuple[psutil.Process, int]]:
    port = _free_port()
    env = {
        "HOST": HOST,
        "PORT": str(port),
        "OPS_PORT": "0",
        "MESH_ADDRESS": address,
        "VOXMESH_STATE_DIR": state,
        "EDGE_REQUIRED_SERVICES": "asr,session",
        "LOG_LEVEL": "warning",
        "SHUTDOWN_GRACE_S": "1",
    }
    with _process([sys.executable, "-m", "edge"], env) as process:
        yield process, port


@contextmanager
def _process(command: list[str], env: dict[str, str]) -> Iterator[psutil.Popen]:
    process = psutil.Popen(command, cwd=ROOT, env={**os.environ, **env}, stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _wait_ready(edge: psutil.Process, port: int) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if not edge.is_running() or edge.status() == psutil.STATUS_ZOMBIE:
            raise RuntimeError("the edge ended")
        try:
            with urllib.request.urlopen(f"http://{HOST}:{port}/healthz", timeout=2):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    raise RuntimeError("the edge did not become ready")


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _percentile(ordered: Sequence[float], share: float) -> float:
    return round(ordered[min(math.ceil(share * len(ordered)), len(ordered)) - 1], 1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _print(report: dict[str, object]) -> None:
    table = Table(title="What the edge adds", show_header=False)
    for name, value in report.items():
        shown = (
            ", ".join(f"{who} {much}" for who, much in value.items()) if isinstance(value, dict) else value
        )
        table.add_row(name.replace("_", " "), str(shown))
    Console().print(table)
    print(json.dumps(report))

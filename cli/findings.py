"""What can be found out about this machine, one check a function."""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata
from pathlib import Path

import psutil

from cli import note, threads
from cli.paths import find_redis, model_cache_dir
from cli.plan import LOOPBACK, Ports
from cli.ports import taken_ports
from common.errors import VoxmeshError
from common.state import read_license_key
from common.weights import catalog, describe
from envoy.binary import find_envoy

GB = 1e9
MEMORY_GB = 4
DISK_GB = 4
CPU_INFO = Path("/proc/cpuinfo")


class Level(StrEnum):
    """How a check came out."""

    good = "✓"
    remark = "⚠"
    bad = "✗"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; `fix` says what to do unless all is well."""

    level: Level
    what: str
    fix: str = ""


def examine(state_dir: Path) -> Iterator[Finding]:
    """Every check, in the order in which a person would fix things."""
    yield python()
    yield torch()
    yield cores()
    yield vector_units()
    yield gpu()
    yield memory()
    yield disk(model_cache_dir())
    yield envoy()
    yield redis()
    yield espeak()
    yield from models(model_cache_dir())
    yield licence(state_dir)
    yield from ports(state_dir)


def python() -> Finding:
    version = platform.python_version()
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Finding(Level.good, f"Python {version}")
    return Finding(
        Level.bad, f"Python {version}", "3.11 to 3.13 is needed: PYTHON=/path/to/python3 ./voxmesh up"
    )


def torch() -> Finding:
    try:
        version = metadata.version("torch")
    except metadata.PackageNotFoundError:
        return Finding(Level.bad, "torch is not installed", "remove .venv and start ./voxmesh again")
    return Finding(Level.good, f"torch {version}")


def cores() -> Finding:
    count = threads.usable_cores()
    share = ", ".join(f"{name} {n}" for name, n in threads.shares(count).items())
    if count < 2:
        return Finding(Level.remark, f"{count} core", "two or more keep streams in real time")
    return Finding(Level.good, f"{count} cores (threads: {share})")


def vector_units(cpu_info: Path = CPU_INFO) -> Finding:
    """int8 and bf16 arithmetic wants AVX512 with VNNI (or AMX) on x86."""
    try:
        text = cpu_info.read_text()
    except OSError:
        return Finding(Level.remark, f"vector units unknown ({platform.machine()})")
    line = next((line for line in text.splitlines() if line.startswith(("flags", "Features"))), "")
    flags = set(line.partition(":")[2].split())
    wanted = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "asimddp", "bf16")
    found = [name for name in wanted if name in flags]
    fast = flags & {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"}
    if fast:
        return Finding(Level.good, f"vector units: {' '.join(found)}")
    return Finding(
        Level.remark, f"vector units: {' '.join(found) or 'none of note'}", "works, at a lower speed"
    )


def gpu() -> Finding:
    program = shutil.which("nvidia-smi")
    if program is None:
        return Finding(Level.remark, "no NVIDIA GPU: models run on the CPU")
    query = [program, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True, timeout=20)
    names = ", ".join(line.strip() for line in done.stdout.splitlines() if line.strip())
    if done.returncode or not names:
        return Finding(Level.remark, "nvidia-smi finds no GPU", "check the driver: nvidia-smi")
    return Finding(Level.good, f"GPU: {names}")


def memory() -> Finding:
    found = psutil.virtual_memory()
    text = f"memory: {found.available / GB:.1f} of {found.total / GB:.1f} GB free"
    if found.available < MEMORY_GB * GB:
        return Finding(Level.remark, text, f"{MEMORY_GB} GB are comfortable; try --model whisper-tiny.en")
    return Finding(Level.good, text)


def disk(cache: Path) -> Finding:
    there = next(parent for parent in (cache, *cache.parents) if parent.exists())
    free = shutil.disk_usage(there).free
    text = f"disk: {free / GB:.1f} GB free for models in {cache}"
    if free < DISK_GB * GB:
        return Finding(Level.remark, text, "free some, or set MODEL_CACHE_DIR to a larger disk")
    if not os.access(there, os.W_OK):
        return Finding(Level.bad, f"{there} is not writable", "set MODEL_CACHE_DIR to a directory of yours")
    return Finding(Level.good, text)


def envoy() -> Finding:
    found = find_envoy()
    if found is None:
        return Finding(Level.bad, "no envoy", "remove .venv/.installed-runtime and start ./voxmesh again")
    return Finding(Level.good, f"envoy: {found}") if _runs(found) else _broken("envoy", found)


def redis() -> Finding:
    if os.environ.get("REDIS_URL"):
        return Finding(Level.good, "redis: the one REDIS_URL names")
    found = find_redis()
    if found is None:
        return Finding(Level.bad, "no redis-server", "apt install redis-server, or set REDIS_URL")
    return Finding(Level.good, f"redis: {found}") if _runs(found) else _broken("redis", found)


def espeak() -> Finding:
    """Phonemes of synthesis; the library comes with a package."""
    try:
        version = metadata.version("espeakng-loader")
    except metadata.PackageNotFoundError:
        return Finding(Level.bad, "no espeak-ng", "remove .venv/.installed-runtime and start ./voxmesh again")
    return Finding(Level.good, f"espeak-ng (espeakng-loader {version})")


def models(cache: Path) -> Iterator[Finding]:
    for name in catalog():
        try:
            found = describe(name, cache)
        except VoxmeshError as error:
            yield Finding(Level.bad, f"model {name}: {error.message}", f"./voxmesh models pull {name}")
            continue
        if found.path:
            yield Finding(Level.good, f"model {name}: here")
        else:
            yield Finding(
                Level.remark,
                f"model {name}: not here yet",
                f"fetched when needed; now: ./voxmesh models pull {name}",
            )


def licence(state_dir: Path) -> Finding:
    if os.environ.get("LICENSE_KEY"):
        return Finding(Level.good, "licence key: from LICENSE_KEY")
    if read_license_key(state_dir):
        return Finding(Level.good, f"licence key: of this machine, in {state_dir}")
    return Finding(Level.remark, "no licence key yet", "the first ./voxmesh up makes one for this machine")


def ports(state_dir: Path) -> Iterator[Finding]:
    running = note.read(state_dir)
    if running and running.is_running:
        yield Finding(Level.good, f"a mesh is up at {running.url} (gRPC {running.grpc})")
        return
    if running and (left := running.leftovers()):
        names = ", ".join(f"{name} (pid {pid})" for name, pid in left.items())
        yield Finding(Level.bad, f"left over from an earlier mesh: {names}", "./voxmesh down")
    taken = taken_ports(Ports().at(LOOPBACK)[LOOPBACK], LOOPBACK)
    for port, owner in taken.items():
        yield Finding(Level.bad, f"port {port} is in use by {owner}", "stop it, or ./voxmesh up --free-ports")
    if not taken:
        yield Finding(Level.good, "ports: all free")


def _runs(program: Path) -> bool:
    try:
        return subprocess.run([program, "--version"], capture_output=True, timeout=20).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _broken(name: str, path: Path) -> Finding:
    return Finding(Level.bad, f"{name} does not run: {path}", f"try it: {path} --version")

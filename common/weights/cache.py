"""The cache of weights: one directory per model, complete or absent.

<cache>/<key>/              the files of a model, and manifest.json with their sizes and hashes
<cache>/.locks/<key>.lock   held by the process that fetches
<cache>/.partial/<key>/     downloads that have not ended; the next attempt goes on from them
<cache>/.staging/<key>/     a model being put together; renamed into place in one step
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from common.weights.errors import CacheUnusable, Corrupt
from common.weights.progress import OnProgress

MANIFEST = "manifest.json"
MANIFEST_VERSION = 1
CHUNK_BYTES = 1 << 20
# What must stay free beside the model itself, so that a nearly full disk is reported before the download.
HEADROOM_BYTES = 16 << 20

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_CLOSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR}


@dataclass(frozen=True, slots=True)
class Stored:
    """One line of a manifest. `mtime_ns` tells whether the hash must be computed again."""

    name: str
    size: int
    sha256: str
    mtime_ns: int


@dataclass(slots=True)
class Workspace:
    """Where a source puts a model together.

    Attributes:
        partial: survives a failure; removed when the model is complete.
        staging: becomes the model's directory; starts empty.
        expected: sha256 by relative file name; the model is refused if one differs.
    """

    partial: Path
    staging: Path
    expected: dict[str, str] = field(default_factory=dict)


class Cache:
    """Models under one directory. Safe to use from several threads and processes at once."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, key: str) -> Path:
        return self.root / key

    def find(self, key: str, fingerprint: str, *, thorough: bool = False) -> Path | None:
        """The directory of a model that is complete, unchanged and still the one asked for.

        Args:
            key: the model.
            fingerprint: as given to `fill`; a different one means the source has changed since.
            thorough: hash every file, not only those whose time stamp changed.
        """
        directory = self.path(key)
        manifest = _read_manifest(directory)
        if manifest is None or manifest["fingerprint"] != fingerprint:
            return None
        intact = all(_intact(directory, stored, thorough) for stored in manifest["files"])
        return directory if intact else None

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Waits until no other process fetches this model."""
        with explain_disk_errors(self.root):
            locks = self.root / ".locks"
            locks.mkdir(parents=True, exist_ok=True)
            with FileLock(locks / f"{key}.lock"):
                yield

    @contextmanager
    def fill(self, key: str, fingerprint: str, label: str) -> Iterator[Workspace]:
        """Gives a workspace; on a clean exit its files are verified and become the model. Hold `lock` meanwhile.

        Raises:
            Corrupt: a file is not the expected one. The partial downloads are dropped too.
            CacheUnusable: the disk is full or cannot be written.
        """
        work = Workspace(self.root / ".partial" / key, self.root / ".staging" / key)
        with explain_disk_errors(self.root):
            shutil.rmtree(work.staging, ignore_errors=True)
            work.staging.mkdir(parents=True)
            work.partial.mkdir(parents=True, exist_ok=True)
            try:
                yield work
                self._commit(key, fingerprint, label, work)
            except Corrupt:
                shutil.rmtree(work.partial, ignore_errors=True)
                raise
            finally:
                shutil.rmtree(work.staging, ignore_errors=True)
            shutil.rmtree(work.partial, ignore_errors=True)

    def _commit(self, key: str, fingerprint: str, label: str, work: Workspace) -> None:
        files = [_store(work.staging, path) for path in sorted(work.staging.rglob("*")) if path.is_file()]
        found = {stored.name: stored.sha256 for stored in files}
        for name, sha256 in work.expected.items():
            check_sha256(f"{name} of {label}", found.get(name, "no file"), sha256)
        if not files:
            raise Corrupt(f"{label} holds no files that a model could be made of.")
        manifest = {"version": MANIFEST_VERSION, "spec": label, "fingerprint": fingerprint}
        text = json.dumps({**manifest, "files": [asdict(stored) for stored in files]}, indent=1)
        _write_synced(work.staging / MANIFEST, text)
        final = self.path(key)
        old = work.staging.with_name(f"{key}.old")
        shutil.rmtree(old, ignore_errors=True)
        if final.exists():
            final.rename(old)
        work.staging.rename(final)
        shutil.rmtree(old, ignore_errors=True)


def check_sha256(what: str, found: str, expected: str) -> None:
    """Raises Corrupt unless the digests are the same."""
    if found != expected:
        raise Corrupt(f"{what} has sha256 {found}, not {expected}.", expected=expected, found=found)


def hash_file(path: Path, on_progress: OnProgress | None = None) -> str:
    """sha256 of a file, lower-case hex."""
    digest, done = hashlib.sha256(), 0
    total = path.stat().st_size
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            done += len(chunk)
            if on_progress:
                on_progress(path.name, done, total)
    return digest.hexdigest()


def require_space(directory: Path, size: int) -> None:
    """Raises CacheUnusable when `size` more bytes would not fit."""
    free = shutil.disk_usage(directory).free
    if size + HEADROOM_BYTES > free:
        need, have = round(size / 1e6), round(free / 1e6)
        raise CacheUnusable(
            f"{directory} has {have} MB free, {need} MB are needed: free some, or set MODEL_CACHE_DIR."
        )


@contextmanager
def explain_disk_errors(root: Path) -> Iterator[None]:
    """Turns a full or read-only disk into CacheUnusable; other errors pass."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise CacheUnusable(
                f"No space left for weights in {root}: free some, or set MODEL_CACHE_DIR."
            ) from error
        if error.errno in _CLOSED:
            reason = os.strerror(error.errno or 0)
            raise CacheUnusable(f"Cannot write weights to {root} ({reason}): set MODEL_CACHE_DIR.") from error
        raise


def _read_manifest(directory: Path) -> dict[str, Any] | None:
    try:
        manifest = json.loads((directory / MANIFEST).read_text("utf-8"))
        if manifest["version"] != MANIFEST_VERSION:
            return None
        files = [Stored(**stored) for stored in manifest["files"]]
        return {"fingerprint": str(manifest["fingerprint"]), "files": files}
    except (OSError, ValueError, KeyError, TypeError):
        return None  # absent or damaged: the model is fetched again


def _intact(directory: Path, stored: Stored, thorough: bool) -> bool:
    path = directory / stored.name
    try:
        stat = path.stat()
        if stat.st_size != stored.size:
            return False
        if stat.st_mtime_ns == stored.mtime_ns and not thorough:
            return True
        return hash_file(path) == stored.sha256
    except OSError:
        return False


def _store(directory: Path, path: Path) -> Stored:
    with path.open("rb+" if not path.is_symlink() else "rb") as file:
        if not path.is_symlink():
            os.fsync(file.fileno())
    stat = path.stat()
    return Stored(path.relative_to(directory).as_posix(), stat.st_size, hash_file(path), stat.st_mtime_ns)


def _write_synced(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())

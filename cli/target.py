"""The mesh that a command talks to: where it is, and the key it wants."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from cli import note
from cli.fail import Trouble
from cli.paths import state_dir
from cli.plan import EDGE_PORT, LOOPBACK
from common.state import read_license_key
from envoy.sidecar import PUBLIC_GRPC_PORT

UrlOption = Annotated[str, typer.Option("--url", help="Mesh to talk to; default: the one that runs here.")]
KeyOption = Annotated[
    str, typer.Option("--key", help="Licence key; default: LICENSE_KEY, or the key of this machine.")
]
StateOption = Annotated[Path | None, typer.Option("--state-dir", help="State directory of the mesh.")]

START_ONE = "start one in another terminal: ./voxmesh up"


@dataclass(frozen=True, slots=True)
class Target:
    """A mesh and a key for it; `grpc` is its public gRPC listener."""

    url: str
    key: str
    grpc: str

    @property
    def ws_url(self) -> str:
        return "ws" + self.url.removeprefix("http")

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Token {self.key}"}


def find(url: str, key: str, state: Path | None) -> Target:
    """The mesh named by the options, else the one that runs on this machine.

    Raises:
        Trouble: none runs here.
    """
    directory = state_dir(state)
    key = key or os.environ.get("LICENSE_KEY") or read_license_key(directory) or ""
    if url:
        return Target(url.rstrip("/"), key, f"{httpx.URL(url).host}:{PUBLIC_GRPC_PORT}")
    running = note.read(directory)
    if running and running.is_running:
        return Target(running.url, key, running.grpc)
    local = f"http://{LOOPBACK}:{EDGE_PORT}"  # perhaps started another way, e.g. in containers
    try:
        httpx.get(f"{local}/health", timeout=1.0)
    except httpx.HTTPError:
        raise Trouble("no mesh runs on this machine", START_ONE) from None
    return Target(local, key, f"{LOOPBACK}:{PUBLIC_GRPC_PORT}")


@contextmanager
def explained(target: Target) -> Iterator[None]:
    """Turns a connection that fails into a Trouble with its fix."""
    try:
        yield
    except httpx.ConnectError as error:
        raise Trouble(f"nothing answers at {target.url}", START_ONE) from error
    except httpx.TimeoutException as error:
        raise Trouble(
            f"{target.url} did not answer in time", "see how it is doing: ./voxmesh doctor"
        ) from error
    except httpx.HTTPError as error:
        raise Trouble(
            f"the connection to {target.url} broke ({type(error).__name__})", "try again"
        ) from error


def check(answer: httpx.Response) -> httpx.Response:
    """The answer when it is a good one.

    Raises:
        Trouble: with the words of the mesh.
    """
    if answer.is_success:
        return answer
    try:
        body = answer.json()
        said = _words(body)
    except ValueError:
        said = answer.text[:200]
    fixes = {
        401: "give the key: --key, or LICENSE_KEY; the one of this machine was printed by ./voxmesh up",
        429: f"try again in {answer.headers.get('retry-after', 'a few')} s",
        503: f"try again in {answer.headers.get('retry-after', 'a few')} s; see ./voxmesh doctor",
    }
    raise Trouble(f"{said} (HTTP {answer.status_code})", fixes.get(answer.status_code, ""))


def _words(body: Any) -> str:
    """What an error body says: its message, or those of a list of problems."""
    if isinstance(body, dict):
        return _words(body.get("error") or body.get("message") or str(body))
    if isinstance(body, list):
        return "; ".join(_words(problem) for problem in body)
    return str(body)

"""Imports go one way, heavy libraries stay in their rooms."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

SERVICES = ("asr", "tts", "license", "session", "edge", "cli")
MAY_IMPORT = {
    "common": {"common"},
    **{service: {service, "common"} for service in SERVICES},
    "envoy": {"envoy", "common"},
}
MAY_IMPORT["cli"] |= {"envoy", "bench"}  # renders the sidecar's configuration, starts the benchmarks
ROOMS = {
    "torch": ("asr/", "tts/"),
    "aiohttp": ("edge/", "common/ops.py"),
    "grpc": ("common/rpc.py", "common/clients.py", "common/server.py", "common/telemetry.py"),
}
TOP_LEVEL = {*SERVICES, "common", "envoy", "bench", "tests"}


def sources(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in (REPOSITORY / folder).rglob("*.py")]
    return [path for path in found if "pb" not in path.relative_to(REPOSITORY).parts[:2]]


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""


@pytest.mark.parametrize("folder", sorted(MAY_IMPORT))
def test_imports_go_one_way(folder: str) -> None:
    for path in sources(folder):
        for name in imports(path):
            top = name.split(".")[0]
            assert top not in TOP_LEVEL or top in MAY_IMPORT[folder], f"{path} imports {name}"


@pytest.mark.parametrize("library", sorted(ROOMS))
def test_libraries_stay_in_their_rooms(library: str) -> None:
    for path in sources(*MAY_IMPORT):
        place = path.relative_to(REPOSITORY).as_posix()
        if not place.startswith(ROOMS[library]):
            assert library not in {name.split(".")[0] for name in imports(path)}, f"{place} imports {library}"


def test_no_file_is_a_page_too_many() -> None:
    for path in sources(*MAY_IMPORT, "bench", "tests"):
        assert len(path.read_text().splitlines()) <= 400, f"{path} holds more than one noun"


def test_no_task_of_the_edge_forgets_that_it_was_cancelled() -> None:
    """Before Python 3.12 asyncio.wait_for does, when what it waits for comes at the same time: a socket stays open."""
    for path in sources("edge"):
        assert "asyncio.wait_for(" not in path.read_text(), f"{path}: use asyncio.timeout"

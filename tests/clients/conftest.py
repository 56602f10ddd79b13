"""The edge that the real clients talk to, and the manners of clients that call home."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.e2e.conftest import mesh
from tests.fakes.edge_app import Edge, run_edge

__all__ = ["mesh"]  # the fixture of the end-to-end tests serves this directory too


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DO_NOT_TRACK", "1")
    monkeypatch.setenv("SMALLESTAI_TELEMETRY", "0")


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[Edge]:
    """The real application; what recognises and speaks behind it does as it is told."""
    async with run_edge(state_dir=tmp_path, fetch_private=True) as running:
        yield running
        await running.until_closed(len(running.sessions.opened))  # no client leaves anything open behind it

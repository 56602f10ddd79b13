"""One real mesh for all end-to-end tests."""

from collections.abc import Iterator

import pytest

from tests.e2e.running import RunningMesh


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMesh]:
    """The whole mesh, ready. Tests that break it leave it ready again."""
    with RunningMesh(tmp_path_factory.mktemp("mesh")) as started:
        yield started.wait_up()

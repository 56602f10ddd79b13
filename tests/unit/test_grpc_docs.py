"""docs/grpc.md is what the comments of proto/ say."""

from cli.docs import PAGE, render
from tests.conftest import REPOSITORY


def test_the_committed_page_is_fresh() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(REPOSITORY / "proto"), "run ./voxmesh docs and commit"


def test_everything_has_a_comment() -> None:
    """A row without one ends in an empty cell."""
    bare = [
        line
        for line in PAGE.read_text(encoding="utf-8").splitlines()
        if line.endswith("|  |") and "---" not in line
    ]
    assert [line for line in bare if not line.startswith(("| number", "| method"))] == []

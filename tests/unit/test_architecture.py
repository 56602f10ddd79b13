"""ARCHITECTURE.md names every module with the first line of its docstring."""

import ast

from tests.conftest import REPOSITORY
from tests.unit.test_layout import MAY_IMPORT, sources


def test_every_module_has_its_line() -> None:
    page = (REPOSITORY / "ARCHITECTURE.md").read_text()
    expected = []
    for path in sorted(sources(*MAY_IMPORT, "bench")):
        if path.name == "__init__.py":
            continue
        summary = (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n")[0]
        assert summary, f"{path} says nothing about itself"
        expected.append(f"- `{path.relative_to(REPOSITORY).as_posix()}`: {summary}")
    missing = [line for line in expected if line not in page.splitlines()]
    stale = [
        line
        for line in page.splitlines()
        if line.startswith("- `") and ".py`" in line and line not in expected
    ]
    assert not missing + stale, "lines to add:\n" + "\n".join(missing) + "\nto remove:\n" + "\n".join(stale)

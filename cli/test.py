"""`voxmesh test`: every check of the repository, with one summary. What runs in CI is this."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.console import Console

from cli.paths import BIN, ROOT

CATEGORIES = ("unit", "rpc", "clients", "e2e", "bench")
CHECKED = ("common", "asr", "tts", "license", "session", "edge", "cli", "envoy", "bench", "tests")


@dataclass(frozen=True, slots=True)
class Step:
    """One check."""

    name: str
    command: tuple[str, ...]


def steps(categories: tuple[str, ...], extra: tuple[str, ...] = ()) -> list[Step]:
    """The static checks, then the tests of the given categories."""
    python = sys.executable
    checked = tuple(name for name in CHECKED if (ROOT / name).is_dir())
    return [
        Step("ruff check", (str(BIN / "ruff"), "check", ".")),
        Step("ruff format", (str(BIN / "ruff"), "format", "--check", ".")),
        Step("mypy", (python, "-m", "mypy", *checked)),
        Step("buf lint", (str(BIN / "buf"), "lint", "proto")),
        *(
            Step(f"pytest {name}", (python, "-m", "pytest", "-q", f"tests/{name}", *extra))
            for name in categories
        ),
    ]


def test(
    context: typer.Context,
    categories: Annotated[
        list[str] | None, typer.Argument(help="unit rpc clients e2e bench; default: all.")
    ] = None,
) -> None:
    """Run every check of the repository. Options go to pytest: `test unit -k name`."""
    words = [*(categories or []), *context.args]
    chosen = tuple(word for word in words if word in CATEGORIES)
    extra = tuple(word for word in words if word not in CATEGORIES)
    console = Console()
    env = {**os.environ, "PATH": os.pathsep.join((str(BIN), os.environ.get("PATH", "")))}
    results: list[tuple[Step, bool, float]] = []
    for step in steps(chosen or CATEGORIES, extra):
        console.rule(f"[bold]{step.name}[/bold]", align="left")
        begin = time.monotonic()
        code = subprocess.run(step.command, cwd=ROOT, env=env).returncode
        nothing_to_run = step.name.startswith("pytest") and code == 5  # no test has this name
        results.append((step, code == 0 or nothing_to_run, time.monotonic() - begin))
    console.rule()
    for step, good, took in results:
        mark = "[green]✓[/green]" if good else "[red]✗[/red]"
        console.print(f"{mark} {step.name:<14} {took:6.1f} s")
    if not all(good for _, good, _ in results):
        raise typer.Exit(1)

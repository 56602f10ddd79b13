"""`voxmesh doctor`: what this machine has, what it lacks, and the fix."""

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from cli.findings import Level, examine
from cli.paths import state_dir
from cli.target import StateOption

_COLOURS = {Level.good: "green", Level.remark: "yellow", Level.bad: "red"}


def doctor(
    state: StateOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Check this machine; the exit code is 1 when something needed is missing."""
    console = Console(highlight=False, soft_wrap=True)
    missing = False
    for finding in examine(state_dir(state)):
        missing |= finding.level is Level.bad
        if as_json:
            line = {"level": finding.level.name, "what": finding.what, "fix": finding.fix}
            print(json.dumps(line), flush=True)
            continue
        colour = _COLOURS[finding.level]
        console.print(f"[{colour}]{finding.level}[/{colour}] {escape(finding.what)}")
        if finding.fix:
            console.print(f"    [dim]{escape(finding.fix)}[/dim]")
    if missing:
        raise typer.Exit(1)

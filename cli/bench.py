"""`voxmesh bench NAME`: runs one of the benchmarks under bench/."""

import subprocess
import sys
from typing import Annotated

import typer

from cli.fail import Trouble
from cli.paths import ROOT


def names() -> list[str]:
    """The benchmarks there are: a module of bench/ with a `run` is one; `asr_stream` is spelled asr-stream."""
    found = (ROOT / "bench").glob("*.py")
    return sorted(
        path.stem.replace("_", "-")
        for path in found
        if not path.stem.startswith("_") and "\ndef run(" in path.read_text(encoding="utf-8")
    )


def bench(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Which one; its own options follow, e.g. `bench asr --help`.")],
) -> None:
    """Measure this machine: throughput, latency, accuracy, side by side with the peer."""
    if name not in names():
        raise Trouble(f"no benchmark {name!r}", f"there are: {', '.join(names()) or 'none'}")
    # A process of its own: benchmarks set thread counts before they import anything.
    start = f"import sys; from bench.{name.replace('-', '_')} import run; sys.exit(run(sys.argv[1:]))"
    done = subprocess.run([sys.executable, "-P", "-c", start, *context.args])
    raise typer.Exit(done.returncode)

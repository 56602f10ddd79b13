"""What goes wrong on a person's machine: what it is, and what to do about it."""

import typer
from rich.console import Console

from cli.ports import Owner

_errors = Console(stderr=True, highlight=False, soft_wrap=True)


class Trouble(Exception):
    """Ends a command with one line that says what is wrong and one with the fix."""

    def __init__(self, what: str, fix: str = "", *, code: int = 1) -> None:
        super().__init__(what)
        self.what, self.fix, self.code = what, fix, code

    def show(self) -> typer.Exit:
        """Prints both lines; returns the exception that ends the command."""
        _errors.print(f"[red]✗[/red] {_plain(self.what)}")
        if self.fix:
            _errors.print(f"  {_plain(self.fix)}")
        return typer.Exit(self.code)


def needed_port(port: int, owner: Owner) -> Trouble:
    """A port of the mesh that somebody else has."""
    return Trouble(
        f"port {port} is in use by {owner}",
        "stop it, or choose other ports: --port, --grpc-port, or --free-ports for all of them",
    )


def _plain(text: str) -> str:
    return text.replace("[", r"\[")

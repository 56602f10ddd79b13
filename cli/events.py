"""What `up` tells: one event at a time, as lines for people or as JSON for programs."""

import json
import re
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TextIO

from rich.console import Console

from cli.probes import NOT_YET


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened to a service, or (empty service) to the whole mesh.

    Kinds: starting, waiting, milestone, ready, not_ready, crashed, gave_up, stopping, stopped, up, down.
    """

    kind: str
    service: str = ""
    fields: dict[str, Any] = field(default_factory=dict)


_PRIVATE_PORT = re.compile(r"(ready|listening) on port \d+$")

Sink = Callable[[Event], None]


def lasting(sink: Sink) -> Sink:
    """A sink that outlives its reader: when nobody listens any more the mesh still has to be watched and stopped."""
    gone = False

    def tell(event: Event) -> None:
        nonlocal gone
        if gone:
            return
        try:
            sink(event)
        except (OSError, ValueError):  # a closed pipe, a terminal that went away
            gone = True

    return tell


def json_sink(out: TextIO | None = None) -> Sink:
    """One JSON object a line."""
    stream = out or sys.stdout

    def tell(event: Event) -> None:
        line = {"event": event.kind, **({"service": event.service} if event.service else {}), **event.fields}
        print(json.dumps(line), file=stream, flush=True)

    return tell


def human_sink(console: Console) -> Sink:
    """A line per event worth a person's attention."""

    def tell(event: Event) -> None:
        line = describe(event)
        if line:
            name = f"[cyan]{event.service:<8}[/cyan] " if event.service else ""
            console.print(f"{name}{line}", highlight=False, soft_wrap=True)

    return tell


def describe(event: Event) -> str:
    """The line for a person, in rich markup; empty when the event needs none."""
    get = event.fields.get
    match event.kind:
        case "ready":
            port = f" on port {get('port')}" if get("port") else ""
            return f"[green]✓[/green] Ready{port} ({get('took_s', 0):.1f} s)"
        case "waiting" if get("reason") != NOT_YET:
            return f"[dim]… {_plain(get('reason'))}[/dim]"
        case "milestone":
            # A process knows its private port only; "ready" names the one people use.
            return "" if _PRIVATE_PORT.search(str(get("line"))) else _plain(get("line"))
        case "not_ready":
            return f"[yellow]⚠[/yellow] Not ready: {_plain(get('reason'))}"
        case "crashed":
            said = f"\n         {_plain(get('last_line'))}" if get("last_line") else ""
            again = f"starting it again in {get('retry_in_s'):g} s"
            return f"[red]✗[/red] Stopped by itself ({get('why')}); {again} [dim]{get('log')}[/dim]{said}"
        case "gave_up":
            lines = "\n".join(f"         {_plain(line)}" for line in get("tail", []))
            return f"[red]✗[/red] Does not start ({get('why')}); the log: {get('log')}\n{lines}".rstrip()
        case "up":
            return _welcome(event.fields)
        case "stopping" if not event.service:
            return f"\nStopping: open requests get {get('grace_s')} s. Ctrl-C again ends everything at once."
        case "stopped":
            return f"Stopped ({get('took_s', 0):.1f} s)"
        case "down" if get("took_s") is not None:
            return f"Voxmesh is down after {get('took_s'):.1f} s"
    return ""


def _welcome(fields: dict[str, Any]) -> str:
    url, key = fields["url"], fields["key"]
    # The key is long: a line to paste reads it from where it lies.
    pasted = f"$(cat {shlex.quote(fields['key_file'])})" if fields["key_file"] else key
    authorised = f'-H "Authorization: Token {pasted}"'
    said = {"text": "Hello from my own machine.", "voice": fields["voice"], "output_format": "wav"}
    body = json.dumps(said)
    lines = [
        "",
        f"[green]✓[/green] [bold]Voxmesh is up[/bold] after {fields['took_s']:.1f} s",
        f"  URL   {url}    gRPC {fields['grpc']}",
        f"  key   {_plain(key)}",
        "",
        "  [dim]# a recording to text[/dim]",
        _plain(f"  curl {url}/v1/listen {authorised} -F audio=@recording.wav"),
        "  [dim]# a text to speech[/dim]",
        _plain(
            f"  curl {url}/v1/speak {authorised} -H 'Content-Type: application/json' -d '{body}' -o hello.wav"
        ),
        "  [dim]# how it is doing[/dim]",
        _plain(f"  curl '{url}/health?detailed=true' {authorised}"),
        "",
        f"  [dim]Ctrl-C stops it. Logs: {_plain(fields['state_dir'])}/logs[/dim]",
    ]
    return "\n".join(lines)


def _plain(text: object) -> str:
    """Text of others, kept from being read as markup."""
    return str(text or "").replace("[", r"\[")

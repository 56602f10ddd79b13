"""`voxmesh transcribe FILE`: a recording to text, subtitles or JSON."""

import json
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import IO, Annotated, Any, cast

import httpx
import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from cli.fail import Trouble
from cli.target import KeyOption, StateOption, Target, UrlOption, check, explained, find
from common import subtitles
from common.subtitles import Word

# Long recordings take a while, and a queue may stand before them.
TIMEOUT = httpx.Timeout(10, read=1800, write=300)


class Format(StrEnum):
    """How to write the transcript."""

    table = "table"
    txt = "txt"
    json = "json"
    srt = "srt"
    vtt = "vtt"


def transcribe(
    file: Annotated[Path, typer.Argument(help="Audio or video file, any format.")],
    form: Annotated[Format, typer.Option("--format", "-f", help="How to write it.")] = Format.table,
    language: Annotated[str, typer.Option("--language", "-l", help="ISO 639-1 code; empty detects it.")] = "",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; default: the terminal.")
    ] = None,
    url: UrlOption = "",
    key: KeyOption = "",
    state: StateOption = None,
) -> None:
    """Transcribe a recording through the running mesh."""
    if not file.is_file():
        raise Trouble(f"{file}: no such file")
    answer = send(find(url, key, state), file, language)
    if form is Format.table and output is None:
        show_table(answer, Console())
        return
    text = write_as(form, answer)
    if output:
        output.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


def send(target: Target, file: Path, language: str) -> dict[str, Any]:
    """Uploads with a progress bar; the mesh's JSON answer.

    Raises:
        Trouble: no mesh, or it said no.
    """
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeElapsedColumn(),
    )
    progress = Progress(*columns, console=Console(stderr=True), transient=True)
    with progress, file.open("rb") as opened, explained(target):
        size = file.stat().st_size
        task = progress.add_task("uploading", total=size)

        def sent(count: int) -> None:
            progress.advance(task, count)
            if progress.tasks[0].completed >= size:  # all of it is there: now the model works
                progress.update(task, description="transcribing", total=None)

        fields = {"timestamps": "true", **({"language": language} if language else {})}
        part = (file.name, cast(IO[bytes], _Counted(opened, sent)), "application/octet-stream")
        answer = httpx.post(
            f"{target.url}/v1/listen",
            headers=target.headers,
            data=fields,
            files={"audio": part},
            timeout=TIMEOUT,
        )
    found: dict[str, Any] = check(answer).json()
    return found


def words_of(answer: dict[str, Any]) -> list[Word]:
    """The words of an answer of /v1/listen."""
    return [Word(w["word"], float(w["start"]), float(w["end"])) for w in answer.get("words") or []]


def write_as(form: Format, answer: dict[str, Any]) -> str:
    """The transcript as text that ends with a newline."""
    if form is Format.json:
        return json.dumps(answer, ensure_ascii=False, indent=2) + "\n"
    found = subtitles.cues(words_of(answer))
    if form is Format.srt:
        return subtitles.srt(found)
    if form is Format.vtt:
        return subtitles.vtt(found)
    if form is Format.table:
        return "".join(f"{cue.start_s:8.2f} {cue.end_s:8.2f}  {cue.text}\n" for cue in found)
    return str(answer.get("text", "")).strip() + "\n"


def show_table(answer: dict[str, Any], console: Console) -> None:
    """Cues in a table, then the figures of the whole."""
    table = Table("from", "to", "text", box=None, header_style="dim")
    for cue in subtitles.cues(words_of(answer)):
        table.add_row(f"{cue.start_s:.2f}", f"{cue.end_s:.2f}", cue.text)
    console.print(table)
    figures = [f"{answer.get('duration', 0):.1f} s", str(answer.get("language") or "language unknown")]
    if answer.get("confidence") is not None:
        figures.append(f"confidence {float(answer['confidence']):.2f}")
    console.print(f"[dim]{', '.join(figures)}[/dim]")


class _Counted:
    """A file that tells how much of it was read."""

    def __init__(self, file: IO[bytes], told: Callable[[int], None]) -> None:
        self._file, self._told = file, told

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._told(len(data))
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def fileno(self) -> int:
        return self._file.fileno()

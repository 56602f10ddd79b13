"""`voxmesh speak TEXT -o FILE`: text to an audio file."""

import sys
import time
from pathlib import Path
from typing import Annotated, BinaryIO

import httpx
import typer
from rich.console import Console

from cli.fail import Trouble
from cli.target import KeyOption, StateOption, UrlOption, check, explained, find

# Name the file as you want it: the suffix says the format.
FORMATS = {
    ".wav": "wav",
    ".mp3": "mp3",
    ".pcm": "pcm",
    ".raw": "pcm",
    ".ulaw": "mulaw",
    ".alaw": "alaw",
    ".opus": "opus",
    ".ogg": "opus",
    ".flac": "flac",
    ".aac": "aac",
}
TIMEOUT = httpx.Timeout(10, read=300)
_RIFF_SIZE_AT, _DATA_SIZE_AT = 4, 40  # in the 44 bytes before the audio


def speak(
    text: Annotated[str, typer.Argument(help="What to say; - reads it from standard input.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Audio file; its suffix says the format.")],
    voice: Annotated[str, typer.Option(help="Voice; see `voices`.")] = "",
    speed: Annotated[float, typer.Option(min=0.5, max=2.0, help="Rate of speech.")] = 1.0,
    sample_rate: Annotated[int, typer.Option(help="Hz; default: the voice's own.")] = 0,
    url: UrlOption = "",
    key: KeyOption = "",
    state: StateOption = None,
) -> None:
    """Speak a text into an audio file through the running mesh."""
    form = FORMATS.get(output.suffix.lower())
    if form is None:
        raise Trouble(f"unknown audio suffix {output.suffix!r}", f"known: {' '.join(FORMATS)}")
    if text == "-":
        text = sys.stdin.read()
    target = find(url, key, state)
    body: dict[str, str | float] = {"text": text, "voice": voice, "output_format": form, "speed": speed}
    if sample_rate:
        body["sample_rate"] = sample_rate
    console = Console(stderr=True)
    begin, first, size = time.perf_counter(), 0.0, 0
    with (
        console.status("speaking"),
        explained(target),
        httpx.stream(
            "POST", f"{target.url}/v1/speak", headers=target.headers, json=body, timeout=TIMEOUT
        ) as answer,
    ):
        if not answer.is_success:
            answer.read()
            check(answer)
        with output.open("wb") as file:
            for chunk in answer.iter_bytes():
                first = first or time.perf_counter() - begin
                size += file.write(chunk)
            if form == "wav":
                _write_sizes(file, size)
    took = time.perf_counter() - begin
    console.print(
        f"[green]✓[/green] {output}: {size / 1000:.0f} kB in {took:.2f} s, first audio after {first * 1000:.0f} ms"
    )


def _write_sizes(file: BinaryIO, size: int) -> None:
    """A WAV that came while it was made says "until the end" where its sizes belong; a file can say them."""
    for at in (_RIFF_SIZE_AT, _DATA_SIZE_AT):
        file.seek(at)
        file.write((size - at - 4).to_bytes(4, "little"))

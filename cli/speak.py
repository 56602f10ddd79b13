"""`voxmesh speak TEXT -o FILE`: text to an audio file, and the voices there are."""

import asyncio
import sys
import time
from pathlib import Path
from typing import Annotated

import httpx
import typer
from rich.console import Console
from rich.table import Table

from cli.fail import Trouble
from cli.target import KeyOption, StateOption, Target, UrlOption, check, explained, find
from common.clients import TtsClient, open_channel
from common.errors import VoxmeshError
from common.pb.voxmesh.tts.v1 import ListVoicesRequest, Voice

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
    took = time.perf_counter() - begin
    console.print(
        f"[green]✓[/green] {output}: {size / 1000:.0f} kB in {took:.2f} s, first audio after {first * 1000:.0f} ms"
    )


def voices(url: UrlOption = "", key: KeyOption = "", state: StateOption = None) -> None:
    """List the voices of the running mesh."""
    found = asyncio.run(_voices(find(url, key, state)))
    table = Table("voice", "language", "rate", "speakers", "quality", "engine", box=None, header_style="dim")
    for voice in found:
        rate = f"{voice.sample_rate_hz / 1000:g} kHz"
        table.add_row(voice.name, voice.language, rate, str(voice.speakers), voice.quality, voice.engine)
    Console().print(table)


async def _voices(target: Target) -> list[Voice]:
    channel = open_channel(target.grpc)
    try:
        answer = await TtsClient(channel).list_voices(
            ListVoicesRequest(), timeout=10, metadata={"authorization": f"Token {target.key}"}
        )
    except VoxmeshError as error:
        raise Trouble(f"{target.grpc}: {error.message}", "see how it is doing: ./voxmesh doctor") from error
    finally:
        await channel.close(None)
    return answer.voices

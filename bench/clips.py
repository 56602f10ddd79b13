"""Recordings to measure with."""

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from common.audio import pcm16_to_float
from common.codec.decode import decode_file

EVALDATA = Path(__file__).resolve().parent.parent.parent / "shared" / "evaldata" / "dev"
PAUSE_S = 0.8
Pcm = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Clip:
    """A recording and what is said in it."""

    name: str
    pcm: Pcm  # [n] float32, 16 kHz
    text: str
    language: str

    @property
    def seconds(self) -> float:
        return len(self.pcm) / 16_000


def load_clips(
    data: Path, languages: Sequence[str], shortest_s: float, longest_s: float, count: int = 0
) -> list[Clip]:
    """Recordings of one channel whose transcripts are scored by words, spread evenly over the manifest.

    Args:
        data: directory with manifest.jsonl.
        languages: codes, or "all".
        shortest_s: and `longest_s`: bounds of the length.
        count: at most so many; 0 is all.
    """
    rows = [json.loads(line) for line in (data / "manifest.jsonl").read_text("utf-8").splitlines()]
    rows = [
        row
        for row in rows
        if (row["language"] in languages or "all" in languages)
        and shortest_s <= row["seconds"] <= longest_s
        and row["channels"] == 1
        and row["text"]
        and row["metric"] in ("wer", "cer")
        and not row["hard"]
    ]
    if count and len(rows) > count:
        rows = [rows[index * len(rows) // count] for index in range(count)]
    return [Clip(row["id"], read(data / row["file"]), row["text"], row["language"]) for row in rows]


def read(path: Path) -> Pcm:
    """A file as [n] float32 at 16 kHz."""
    with closing(decode_file(path)) as blocks:
        return pcm16_to_float(b"".join(blocks))


def long_recording(clips: Sequence[Clip], seconds: float) -> Clip:
    """Clips one after another with pauses between them, repeated until the length is reached."""
    pause = np.zeros(int(PAUSE_S * 16_000), np.float32)
    parts: list[Pcm] = []
    texts: list[str] = []
    samples = 0
    while samples < seconds * 16_000:
        clip = clips[len(texts) % len(clips)]
        parts += [clip.pcm, pause]
        texts.append(clip.text)
        samples += len(clip.pcm) + len(pause)
    return Clip("long", np.concatenate(parts), " ".join(texts), "en")

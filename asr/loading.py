"""From MODEL_URL to checkpoints that serve: fetched, loaded, warmed up, with a line for whoever watches the start."""

import os
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import numpy as np

from asr.checkpoints import Checkpoint, capacity_per_checkpoint
from asr.model import SAMPLE_RATE_HZ, DecodeRequest, Recogniser
from asr.settings import AsrSettings
from common import metrics
from common.logs import announce
from common.weights import describe, fetch

# Decodes side by side. More slots take memory for their caches, and on a CPU bring nothing past this.
CPU_SLOTS = 8
GPU_SLOTS = 64
WARM_UP_S = 2.0

Announce = Callable[[str], None]


def pick_device(settings: AsrSettings, say: Announce = announce) -> str:
    """The torch device to load on. Raises RuntimeError when CUDA is asked for and absent."""
    import torch

    if settings.device == "cpu" or (settings.device == "auto" and not torch.cuda.is_available()):
        return "cpu"
    if not torch.cuda.is_available():
        raise RuntimeError("ASR_DEVICE=cuda, but no CUDA device was found")
    properties = torch.cuda.get_device_properties(settings.gpu_device_id)
    say(f"✓ GPU detected: {properties.name} ({properties.total_memory / 2**30:.0f}GB)")
    return f"cuda:{settings.gpu_device_id}"


def load_checkpoint(spec: str, settings: AsrSettings, device: str, say: Announce = announce) -> Recogniser:
    """Fetches and loads one entry of MODEL_URL. Blocks for seconds, or minutes when it must be downloaded.

    Raises:
        WeightsError, BadSpec: the files cannot be had, or the entry names nothing.
        BadCheckpoint: the files are not a Whisper checkpoint.
    """
    from asr.engine.recogniser import load_recogniser

    known = describe(spec, settings.model_cache_dir)
    if known.path is None:
        say(f"✓ Downloading model {known.name}...")
    path = fetch(spec, settings.model_cache_dir)
    begun = time.perf_counter()
    recogniser = load_recogniser(
        _inner(path),
        name=_name(spec, known.name if known.kind else ""),
        device=device,
        threads=settings.threads or _cores(),
        slots=settings.slots or (CPU_SLOTS if device == "cpu" else GPU_SLOTS),
    )
    taken_s = time.perf_counter() - begun
    metrics.asr_model_load_time_seconds.set(taken_s, {"model": recogniser.name})
    say(f"✓ Model loaded successfully ({_size(path)})")
    return recogniser


async def warm_up(recogniser: Recogniser, say: Announce = announce) -> None:
    """One decode of every kind, so that no caller pays for the first."""
    begun = time.perf_counter()
    noise = np.random.default_rng(0).standard_normal(int(WARM_UP_S * SAMPLE_RATE_HZ)).astype(np.float32)
    await recogniser.decode(DecodeRequest(pcm=0.01 * noise, word_times=True, fallback=False))
    await recogniser.decode(DecodeRequest(pcm=0.01 * noise, language=recogniser.languages[0], fallback=False))
    say(f"✓ Warmup completed in {time.perf_counter() - begun:.1f}s")


def make_checkpoints(recognisers: list[Recogniser], settings: AsrSettings) -> list[Checkpoint]:
    """Gives each recogniser its places."""
    return [
        Checkpoint(
            recogniser,
            capacity_per_checkpoint(settings, recogniser.device, len(recognisers)),
            settings.max_delay_ms / 1000,
        )
        for recogniser in recognisers
    ]


def _cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _name(spec: str, catalogue_name: str) -> str:
    """Name callers use: that of the catalogue, else the last part of the address without its suffixes."""
    if catalogue_name:
        return catalogue_name
    last = PurePosixPath(urlsplit(spec).path or urlsplit(spec).netloc).name or spec
    for suffix in (".tar.gz", ".tgz", ".zip", ".tar", ".pt", ".whl"):
        last = last.removesuffix(suffix)
    return last


def _inner(path: Path) -> Path:
    """A fetched directory that holds one checkpoint file, or one directory, means that."""
    entries = [entry for entry in path.iterdir() if not entry.name.startswith(".")]
    if (path / "config.json").is_file():
        return path
    files = [entry for entry in entries if entry.suffix == ".pt"]
    if len(files) == 1:
        return files[0]
    folders = [entry for entry in entries if (entry / "config.json").is_file()]
    return folders[0] if len(folders) == 1 else path


def _size(path: Path) -> str:
    """Size of the weights, as people say it."""
    files = path.iterdir() if path.is_dir() else [path]
    weights = {".bin", ".pt", ".safetensors"}
    size = max((f.stat().st_size for f in files if f.suffix in weights), default=0)
    return f"{size / 1e9:.1f}GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"

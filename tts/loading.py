"""From TTS_VOICES to an engine that serves: fetched, loaded, warmed up, with a line for whoever watches the start."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.logs import announce
from common.memory import give_back, keep_buffers
from common.weights import describe, fetch
from tts.engine import TtsEngine
from tts.model import VoiceInfo
from tts.settings import TtsSettings
from tts.text.phonemes import PhonemeEncoder
from tts.text.reader import Reader
from tts.voice import VoiceModel

WARM_UP_TEXT = "Ready in 1 moment."
WARM_UP_KANA = "はじめます。"  # what any Japanese reader can read

Announce = Callable[[str], None]


def pick_device(settings: TtsSettings, say: Announce = announce) -> str:
    """The torch device to load on. Raises RuntimeError when CUDA is asked for and absent."""
    import torch

    if settings.device == "cpu" or (settings.device == "auto" and not torch.cuda.is_available()):
        return "cpu"
    if not torch.cuda.is_available():
        raise RuntimeError("TTS_DEVICE=cuda, but no CUDA device was found")
    properties = torch.cuda.get_device_properties(settings.gpu_device_id)
    say(f"✓ GPU detected: {properties.name} ({properties.total_memory / 2**30:.0f}GB)")
    return f"cuda:{settings.gpu_device_id}"


def load_engine(settings: TtsSettings, say: Announce = announce) -> TtsEngine:
    """Fetches and loads every voice. Blocks for seconds, or minutes when they must be downloaded.

    Raises:
        WeightsError, BadSpec: the files cannot be had, or an entry names nothing.
        ValueError, FileNotFoundError: the files are not a voice, or DEFAULT_VOICE is none of them.
    """
    device = pick_device(settings, say)
    keep_buffers()
    voices = [voice for spec in settings.voice_specs for voice in _load(spec, settings, device, say)]
    give_back()
    names = [voice.info.name for voice in voices]
    if settings.default_voice and settings.default_voice not in names:
        raise ValueError(f"DEFAULT_VOICE is none of the voices: {', '.join(names)}")
    voices.sort(key=lambda voice: voice.info.name != settings.default_voice)
    return TtsEngine(voices, capacity=settings.capacity, max_batch=settings.batch_size)


async def warm_up(engine: TtsEngine, say: Announce = announce) -> None:
    """Starts the engine and reads a sentence for every voice, so that no caller pays for the first."""
    began = time.perf_counter()
    await engine.start()
    for voice in engine.voices:
        read_once(voice)
    say(f"✓ Warmup completed in {time.perf_counter() - began:.1f}s")


def read_once(voice: VoiceInfo) -> None:
    """Loads what reading aloud needs: number words, unit names, espeak-ng's dictionary of the language."""
    reader, encoder = Reader(voice.language), PhonemeEncoder(voice)
    encoder.encode(reader.read(WARM_UP_TEXT))
    if voice.language.startswith("ja"):
        encoder.encode(reader.read(WARM_UP_KANA))


def _load(spec: str, settings: TtsSettings, device: str, say: Announce) -> list[VoiceModel[Any]]:
    from tts.models.kokoro.load import is_kokoro, load_voices
    from tts.models.load import load_voice

    known = describe(spec, settings.model_cache_dir)
    if known.path is None:
        say(f"✓ Downloading voice {known.name}...")
    path = fetch(spec, settings.model_cache_dir)
    threads, dtype = settings.threads or _cores(), _dtype(settings)
    voices: list[VoiceModel[Any]]
    if is_kokoro(path):
        voices = [*load_voices(path, device, threads, dtype)]
    else:
        voices = [load_voice(path, device, threads, dtype)]
    say(f"✓ Voice loaded: {', '.join(voice.info.name for voice in voices)} ({_megabytes(path)} MB)")
    return voices


def _dtype(settings: TtsSettings) -> Any:
    """The torch type MODEL_PRECISION names; None leaves the choice to the voice."""
    import torch

    names = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    return names.get(settings.model_precision)


def _cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _megabytes(path: Path) -> int:
    """Size of the voice, in millions of bytes."""
    files = [*path.rglob("*.onnx"), *path.glob("*.pth")] if path.is_dir() else [path]
    return max((file.stat().st_size for file in files), default=0) // 1_000_000

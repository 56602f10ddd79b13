"""The engines we are compared with, behind the same call. Absent ones are left out."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.clips import Clip

Engine = Callable[[Clip], str]
Long = Callable[[Any], str]


def faster_whisper(folder: Path, threads: int, device: str, beam: int) -> tuple[Engine, Long] | None:
    """faster-whisper on the same CTranslate2 directory, int8 on CPU: (one clip, its batched pipeline)."""
    try:
        from faster_whisper import BatchedInferencePipeline, WhisperModel
    except ImportError:
        return None
    kind, compute = ("cpu", "int8") if device == "cpu" else ("cuda", "float16")
    model = WhisperModel(str(folder), device=kind, compute_type=compute, cpu_threads=threads)
    pipeline = BatchedInferencePipeline(model)

    def one(clip: Clip) -> str:
        segments, _ = model.transcribe(clip.pcm, language=clip.language, beam_size=beam)
        return " ".join(segment.text.strip() for segment in segments)

    def long(pcm: Any) -> str:
        segments, _ = pipeline.transcribe(pcm, language="en", beam_size=beam, batch_size=8)
        return " ".join(segment.text.strip() for segment in segments)

    return one, long


def openai_whisper(threads: int, beam: int) -> Engine | None:
    """openai-whisper in fp32, where it and the .pt file that VOXMESH_BENCH_OPENAI names are there."""
    path = os.environ.get("VOXMESH_BENCH_OPENAI", "")
    try:
        import torch
        import whisper
    except ImportError:
        return None
    if not path:
        return None
    torch.set_num_threads(threads)
    model = whisper.load_model(path)

    def one(clip: Clip) -> str:
        found = model.transcribe(
            clip.pcm, language=clip.language, beam_size=beam if beam > 1 else None, fp16=False
        )
        return str(found["text"]).strip()

    return one

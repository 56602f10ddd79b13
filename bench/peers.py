"""The engines we are compared with, behind the same call. Absent ones are left out."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from asr.models.load import Source, open_source
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


def openai_whisper(folder: Path, threads: int, device: str, beam: int) -> Engine | None:
    """openai-whisper with the same weights, fp32 on CPU."""
    try:
        import torch
        import whisper
    except ImportError:
        return None
    torch.set_num_threads(threads)
    source = open_source(folder)
    model = whisper.model.Whisper(whisper.model.ModelDimensions(**asdict(source.dims)))
    model.load_state_dict({name: _openai(source, name).float() for name in model.state_dict()})
    model.to(device)

    def one(clip: Clip) -> str:
        found = model.transcribe(
            clip.pcm, language=clip.language, beam_size=beam if beam > 1 else None, fp16=device != "cpu"
        )
        return str(found["text"]).strip()

    return one


# Ends of their names and ours; what is stacked here is a third or a half of ours.
_OPENAI = {
    "ln_post": "ln",
    "positional_embedding": "positions",
    "token_embedding.weight": "embedding",
    "mlp.0": "mlp.fc1",
    "mlp.2": "mlp.fc2",
    "cross_attn_ln": "cross_ln",
    "cross_attn.query": "cross.q",
    "cross_attn.out": "cross.out",
}
_OPENAI_STACKED = {
    "cross_attn.key": ("cross.kv", 0, 2),
    "cross_attn.value": ("cross.kv", 1, 2),
    "attn.query": ("attn.qkv", 0, 3),
    "attn.key": ("attn.qkv", 1, 3),
    "attn.value": ("attn.qkv", 2, 3),
}


def _openai(source: Source, name: str) -> Any:
    """A parameter under its name in openai-whisper."""
    stem, dot, kind = name.rpartition(".")
    for theirs, (ours, place, parts) in _OPENAI_STACKED.items():
        if stem.endswith(f".{theirs}"):
            return source.weights(f"{stem.removesuffix(theirs)}{ours}{dot}{kind}").chunk(parts)[place]
    for theirs, ours in _OPENAI.items():
        if name.endswith(f".{theirs}"):
            return source.weights(name.removesuffix(theirs) + ours)
        if stem.endswith(f".{theirs}"):
            return source.weights(f"{stem.removesuffix(theirs)}{ours}{dot}{kind}")
    return source.weights(name)

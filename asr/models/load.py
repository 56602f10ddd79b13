"""From checkpoint files to a model: converted once to safetensors beside the source, then mapped."""

import json
import os
import zlib
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from asr.models.checkpoint import BadCheckpoint, Checkpoint
from asr.models.dims import Dims
from asr.models.encoder import Weights
from asr.models.formats import read_checkpoint

CACHE_NAME = "voxmesh-whisper-v1.safetensors"
_META = "voxmesh"


@dataclass(frozen=True, slots=True)
class Source:
    """A checkpoint whose parameters are read one at a time, as stored (fp16)."""

    dims: Dims
    weights: Weights
    alignment_heads: tuple[tuple[int, int], ...]
    suppress: tuple[int, ...]
    suppress_begin: tuple[int, ...]


def open_source(path: Path) -> Source:
    """Opens a CTranslate2 or Hugging Face directory, or an OpenAI .pt file.

    The first call writes a converted copy beside it; where that is not possible the tensors stay in memory.

    Raises:
        BadCheckpoint: not a Whisper checkpoint that can be read.
    """
    folder = path if path.is_dir() else path.parent
    cache = folder / CACHE_NAME
    if not cache.is_file():
        try:
            with FileLock(folder / f".{CACHE_NAME}.lock"):
                if not cache.is_file():
                    _convert(path, cache)
        except OSError:
            return _in_memory(read_checkpoint(path))
    try:
        return _mapped(cache)
    except (SafetensorError, KeyError, ValueError):
        raise BadCheckpoint(f"{cache.name} is damaged: remove it and start again") from None


def random_source(dims: Dims, seed: int = 0) -> Source:
    """Weights made at random: for measuring and testing where no checkpoint can be had."""
    shapes = parameter_shapes(dims)

    def weights(name: str) -> torch.Tensor:
        shape = shapes[name]
        if name.endswith("ln.weight"):
            return torch.ones(shape, dtype=torch.float16)
        generator = torch.Generator().manual_seed(seed + zlib.crc32(name.encode()))
        values: torch.Tensor = torch.randn(shape, generator=generator) * shape[-1] ** -0.5
        return values.half()

    return Source(dims, weights, dims.default_alignment_heads[:8], (), ())


def parameter_shapes(dims: Dims) -> dict[str, tuple[int, ...]]:
    """Shape of every parameter by name."""
    shapes: dict[str, tuple[int, ...]] = {}

    def dense(name: str, n: int, *k: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (n, *k), (n,)

    dense("encoder.conv1", dims.n_audio_state, dims.n_mels, 3)
    dense("encoder.conv2", dims.n_audio_state, dims.n_audio_state, 3)
    shapes["encoder.positions"] = (dims.n_audio_ctx, dims.n_audio_state)
    shapes["decoder.positions"] = (dims.n_text_ctx, dims.n_text_state)
    shapes["decoder.embedding"] = (dims.n_vocab, dims.n_text_state)
    sides = (
        ("encoder", dims.n_audio_layer, dims.n_audio_state),
        ("decoder", dims.n_text_layer, dims.n_text_state),
    )
    for side, layers, state in sides:
        dense(f"{side}.ln", state)
        for layer in range(layers):
            block = f"{side}.blocks.{layer}"
            for norm in ("attn_ln", "mlp_ln", *(["cross_ln"] if side == "decoder" else [])):
                dense(f"{block}.{norm}", state)
            dense(f"{block}.attn.qkv", 3 * state, state)
            dense(f"{block}.attn.out", state, state)
            dense(f"{block}.mlp.fc1", 4 * state, state)
            dense(f"{block}.mlp.fc2", state, 4 * state)
            if side == "decoder":
                dense(f"{block}.cross.q", state, state)
                dense(f"{block}.cross.kv", 2 * state, dims.n_audio_state)
                dense(f"{block}.cross.out", state, state)
    return shapes


def _described(checkpoint: Checkpoint) -> dict[str, Any]:
    return {
        "dims": asdict(checkpoint.dims()),
        "alignment_heads": checkpoint.alignment_heads,
        "suppress": checkpoint.suppress,
        "suppress_begin": checkpoint.suppress_begin,
    }


def _convert(path: Path, cache: Path) -> None:
    checkpoint = read_checkpoint(path)
    _check(checkpoint)
    tensors = {name: tensor.half().contiguous() for name, tensor in checkpoint.tensors.items()}
    part = cache.with_suffix(f".{os.getpid()}.part")
    try:
        save_file(tensors, part, {_META: json.dumps(_described(checkpoint))})
        part.replace(cache)
    finally:
        with suppress(OSError):
            part.unlink()


def _check(checkpoint: Checkpoint) -> None:
    for name, shape in parameter_shapes(checkpoint.dims()).items():
        found = checkpoint.tensors.get(name)
        if found is None or tuple(found.shape) != shape:
            raise BadCheckpoint(
                f"{name}: expected {shape}, found {None if found is None else tuple(found.shape)}"
            )


def _source(described: dict[str, Any], weights: Weights) -> Source:
    return Source(
        Dims(**described["dims"]),
        weights,
        tuple((layer, head) for layer, head in described["alignment_heads"]),
        tuple(described["suppress"]),
        tuple(described["suppress_begin"]),
    )


def _in_memory(checkpoint: Checkpoint) -> Source:
    _check(checkpoint)
    return _source(_described(checkpoint), checkpoint.tensors.__getitem__)


def _mapped(cache: Path) -> Source:
    file: Any = safe_open(cache, framework="pt")  # mapped for as long as a tensor of it lives
    return _source(json.loads(file.metadata()[_META]), file.get_tensor)

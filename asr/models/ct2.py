"""Reader of CTranslate2 Whisper directories (`model.bin`, `config.json`)."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from asr.models.checkpoint import BadCheckpoint, Checkpoint, read_json

_CT2_TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
_CT2_BFLOAT16 = 5

_CT2_NAMES = {
    "self_attention/layer_norm": "attn_ln",
    "self_attention/linear_0": "attn.qkv",
    "self_attention/linear_1": "attn.out",
    "attention/layer_norm": "cross_ln",
    "attention/linear_0": "cross.q",
    "attention/linear_1": "cross.kv",
    "attention/linear_2": "cross.out",
    "ffn/layer_norm": "mlp_ln",
    "ffn/linear_0": "mlp.fc1",
    "ffn/linear_1": "mlp.fc2",
}
_CT2_SUFFIXES = {"weight": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}


def iter_ct2(file: BinaryIO) -> Iterator[tuple[str, torch.Tensor]]:
    """Tensors of a CTranslate2 `model.bin` under its own names, in its own types (bf16 as such).

    Layout, little endian: u32 version, string spec, u32 revision, u32 count; per tensor: string name, u8 rank,
    u32 sizes, u8 type, u32 bytes, data. A string is a u16 length with a closing NUL counted.

    Raises:
        BadCheckpoint: cut short, or of an unknown type.
    """
    _take(file, "<I")
    if (spec := _string(file)) != "WhisperSpec":
        raise BadCheckpoint(f"model.bin holds a {spec!r}, not a Whisper model")
    _take(file, "<I")
    for _ in range(_take(file, "<I")):
        name = _string(file)
        shape = [_take(file, "<I") for _ in range(_take(file, "<B"))]
        kind, size = _take(file, "<B"), _take(file, "<I")
        data = bytearray(file.read(size))
        if len(data) != size:
            raise BadCheckpoint("model.bin is cut short")
        if kind == _CT2_BFLOAT16:
            yield name, torch.frombuffer(data, dtype=torch.bfloat16).view(shape)
        elif kind in _CT2_TYPES:
            yield name, torch.from_numpy(np.frombuffer(data, _CT2_TYPES[kind]).reshape(shape))
        else:
            raise BadCheckpoint(f"model.bin uses the unknown type {kind}")


def _take(file: BinaryIO, form: str) -> int:
    data = file.read(struct.calcsize(form))
    if len(data) != struct.calcsize(form):
        raise BadCheckpoint("model.bin is cut short")
    return int(struct.unpack(form, data)[0])


def _string(file: BinaryIO) -> str:
    return file.read(_take(file, "<H"))[:-1].decode("utf-8", "replace")


def read_ct2(path: Path) -> Checkpoint:
    with (path / "model.bin").open("rb") as file:
        raw = dict(iter_ct2(file))
    heads = int(raw.get("encoder/num_heads", torch.tensor(0)))
    tensors = {}
    for name, tensor in raw.items():
        if (ours := _ct2_name(name)) is None:
            continue
        if (scale := raw.get(f"{name}_scale")) is not None:  # int8 files: weight = stored / scale of its row
            tensor = (tensor.float() / scale.float()[:, None]).half()
        tensors[ours] = tensor
    config = read_json(path / "config.json")
    return Checkpoint(
        tensors,
        heads or tensors["encoder.positions"].shape[1] // 64,
        [(int(layer), int(head)) for layer, head in config.get("alignment_heads") or ()],
        config.get("suppress_ids") or [],
        config.get("suppress_ids_begin") or [],
    )


def _ct2_name(name: str) -> str | None:
    """This package's name of a CTranslate2 tensor; None for one that is not a parameter."""
    plain = {
        "encoder/position_encodings/encodings": "encoder.positions",
        "decoder/position_encodings/encodings": "decoder.positions",
        "decoder/embeddings/weight": "decoder.embedding",
    }
    if name in plain:
        return plain[name]
    parts = name.split("/")
    side, suffix = parts[0], _CT2_SUFFIXES.get(parts[-1])
    if side not in ("encoder", "decoder") or suffix is None:
        return None
    if parts[1].startswith("layer_") and parts[1] != "layer_norm":
        inner = _CT2_NAMES.get("/".join(parts[2:-1]))
        return inner and f"{side}.blocks.{parts[1].removeprefix('layer_')}.{inner}.{suffix}"
    top = {"layer_norm": "ln", "conv1": "conv1", "conv2": "conv2"}.get(parts[1])
    return top and f"{side}.{top}.{suffix}"

"""Checkpoint files of every format become the same parameters."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from asr.models.checkpoint import BadCheckpoint
from asr.models.ct2 import iter_ct2, read_ct2
from asr.models.dims import dims_of
from asr.models.load import CACHE_NAME, open_source, parameter_shapes
from asr.models.renamed import _HF, _OPENAI, _Names
from tests.fakes.tiny_whisper import TINY, tiny_source

CT2_PARTS = {
    "attn_ln": "self_attention/layer_norm",
    "attn.qkv": "self_attention/linear_0",
    "attn.out": "self_attention/linear_1",
    "cross_ln": "attention/layer_norm",
    "cross.q": "attention/linear_0",
    "cross.kv": "attention/linear_1",
    "cross.out": "attention/linear_2",
    "mlp_ln": "ffn/layer_norm",
    "mlp.fc1": "ffn/linear_0",
    "mlp.fc2": "ffn/linear_1",
}


def tensors() -> dict[str, torch.Tensor]:
    source = tiny_source()
    return {name: source.weights(name) for name in parameter_shapes(TINY)}


def ct2_name(name: str) -> str:
    plain = {
        "encoder.positions": "encoder/position_encodings/encodings",
        "decoder.positions": "decoder/position_encodings/encodings",
        "decoder.embedding": "decoder/embeddings/weight",
    }
    if name in plain:
        return plain[name]
    stem, suffix = name.rsplit(".", 1)
    if stem.endswith("ln"):
        suffix = {"weight": "gamma", "bias": "beta"}[suffix]
    if ".blocks." in stem:
        side, _, block, part = stem.split(".", 3)
        return f"{side}/layer_{block}/{CT2_PARTS[part]}/{suffix}"
    return f"{stem.replace('.ln', '.layer_norm').replace('.', '/')}/{suffix}"


def string(text: str) -> bytes:
    return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"


def ct2_file(values: dict[str, np.ndarray], spec: str = "WhisperSpec") -> bytes:
    kinds = {"float32": 0, "int8": 1, "int16": 2, "float16": 4}
    out = struct.pack("<I", 6) + string(spec) + struct.pack("<II", 3, len(values))
    for name, value in values.items():
        out += string(name) + struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)
        out += struct.pack("<BI", kinds[value.dtype.name], value.nbytes) + value.tobytes()
    return out + struct.pack("<I", 0)


def write_ct2(folder: Path) -> None:
    values = {ct2_name(name): tensor.numpy() for name, tensor in tensors().items()}
    values["encoder/num_heads"] = np.array(TINY.n_text_head, np.int16)
    (folder / "model.bin").write_bytes(ct2_file(values))
    (folder / "config.json").write_text(
        '{"alignment_heads": [[1, 0]], "suppress_ids": [3], "suppress_ids_begin": [4]}'
    )


def named(names: _Names) -> dict[str, torch.Tensor]:
    """The tiny tensors as another family of files names them."""
    ours = tensors()
    out = {theirs: ours[name] for theirs, name in names.plain.items()}
    for side in ("encoder", "decoder"):
        for block in range(2):
            mine, theirs = f"{side}.blocks.{block}.", names.block(side, block)
            for part, name in names.parts[side].items():
                for suffix in ("weight", "bias"):
                    out[f"{theirs}{part}.{suffix}"] = ours[f"{mine}{name}.{suffix}"]
            stacks = {"attn.qkv": (names.attn, "qkv")} | (
                {"cross.kv": (names.cross, "kv")} if side == "decoder" else {}
            )
            for name, (stem, letters) in stacks.items():
                for index, letter in enumerate(letters):
                    rows = slice(64 * index, 64 * index + 64)
                    out[f"{theirs}{stem}.{names.letters[letter]}.weight"] = ours[f"{mine}{name}.weight"][
                        rows
                    ].clone()
                    if letter != "k":
                        out[f"{theirs}{stem}.{names.letters[letter]}.bias"] = ours[f"{mine}{name}.bias"][
                            rows
                        ].clone()
    return {name: tensor.contiguous().clone() for name, tensor in out.items()}


def test_a_ctranslate2_directory_is_read_and_converted_once(tmp_path: Path) -> None:
    write_ct2(tmp_path)
    source = open_source(tmp_path)
    assert source.dims == TINY
    assert source.alignment_heads == ((1, 0),)
    assert (source.suppress, source.suppress_begin) == ((3,), (4,))
    for name, tensor in tensors().items():
        assert torch.equal(source.weights(name), tensor)
    (tmp_path / "model.bin").unlink()
    assert open_source(tmp_path).dims == TINY


def test_int8_tensors_are_scaled_back(tmp_path: Path) -> None:
    write_ct2(tmp_path)
    with (tmp_path / "model.bin").open("rb") as file:
        values = {name: tensor.numpy() for name, tensor in iter_ct2(file)}
    name = "encoder/layer_0/ffn/linear_0/weight"
    values[name] = np.arange(-128, 128, dtype=np.int8)[:, None].repeat(64, axis=1)
    values[f"{name}_scale"] = np.full(256, 2.0, np.float32)
    (tmp_path / "model.bin").write_bytes(ct2_file(values))
    assert read_ct2(tmp_path).tensors["encoder.blocks.0.mlp.fc1.weight"][0, 0] == -64.0


@pytest.mark.parametrize("family", ["hf", "openai"])
def test_other_formats_stack_queries_keys_and_values(tmp_path: Path, family: str) -> None:
    if family == "hf":
        save_file(named(_HF), tmp_path / "model.safetensors")
        (tmp_path / "config.json").write_text('{"encoder_attention_heads": 2, "suppress_tokens": [3]}')
    else:
        state = {"model_state_dict": named(_OPENAI), "dims": {"n_audio_head": 2}}
        torch.save(state, tmp_path / "tiny.pt")
    source = open_source(tmp_path)
    assert source.dims == TINY
    for name, tensor in tensors().items():
        found = source.weights(name)
        if name.endswith("attn.qkv.bias"):
            assert not found[64:128].any()
            found, tensor = found[:64], tensor[:64]
        elif name.endswith("cross.kv.bias"):
            found, tensor = found[64:], tensor[64:]
        assert torch.equal(found, tensor), name


@pytest.mark.parametrize("cut", [3, 40, 2000])
def test_a_file_cut_short_is_refused(tmp_path: Path, cut: int) -> None:
    write_ct2(tmp_path)
    data = (tmp_path / "model.bin").read_bytes()[:cut]
    with pytest.raises(BadCheckpoint):
        list(iter_ct2(io.BytesIO(data)))


def test_another_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(ct2_file({}, spec="TransformerSpec"))
    with pytest.raises(BadCheckpoint, match="TransformerSpec"):
        open_source(tmp_path)


def test_a_directory_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match="model.bin"):
        open_source(tmp_path)
    assert not (tmp_path / CACHE_NAME).exists()


def test_published_sizes() -> None:
    turbo = dims_of("large-v3-turbo")
    assert (turbo.n_mels, turbo.n_text_layer, turbo.n_vocab) == (128, 4, 51866)
    assert turbo.multilingual

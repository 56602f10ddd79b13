"""Readers of Hugging Face safetensors directories and OpenAI .pt files: the same tensors under other names."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open

from asr.models.checkpoint import BadCheckpoint, Checkpoint, read_json


def _stacked(source: Mapping[str, torch.Tensor], rules: "_Names") -> dict[str, torch.Tensor]:
    """Renames by `rules`; q, k, v of self-attention and k, v of cross-attention become one tensor each."""
    tensors = {ours: source[theirs] for theirs, ours in rules.plain.items()}
    for side in ("encoder", "decoder"):
        for block in range(sum(rules.is_block(side, name) for name in source)):
            theirs, ours = rules.block(side, block), f"{side}.blocks.{block}."
            for part, name in rules.parts[side].items():
                for suffix in ("weight", "bias"):
                    tensors[f"{ours}{name}.{suffix}"] = source[f"{theirs}{part}.{suffix}"]
            groups: dict[str, tuple[str, tuple[str, ...]]] = {"attn.qkv": (rules.attn, ("q", "k", "v"))}
            if side == "decoder":
                groups["cross.kv"] = (rules.cross, ("k", "v"))
            for name, (stem, letters) in groups.items():
                stems = [f"{theirs}{stem}.{rules.letters[letter]}" for letter in letters]
                weights = [source[f"{each}.weight"] for each in stems]
                biases = [source.get(f"{each}.bias", torch.zeros_like(weights[0][:, 0])) for each in stems]
                tensors[f"{ours}{name}.weight"] = torch.cat(weights)
                tensors[f"{ours}{name}.bias"] = torch.cat(biases)
    return tensors


@dataclass(frozen=True, slots=True)
class _Names:
    """How one family of files names its tensors."""

    plain: dict[str, str]
    parts: dict[str, dict[str, str]]
    blocks: str  # "layers" or "blocks"
    prefix: str
    attn: str
    cross: str
    letters: dict[str, str]
    first_norm: str

    def block(self, side: str, index: int) -> str:
        return f"{self.prefix}{side}.{self.blocks}.{index}."

    def is_block(self, side: str, name: str) -> bool:
        head = f"{self.prefix}{side}.{self.blocks}."
        return (
            name.startswith(head) and name.split(".", head.count(".") + 1)[-1] == f"{self.first_norm}.weight"
        )


def _pairs(*pairs: tuple[str, str]) -> dict[str, str]:
    return {
        f"{theirs}.{suffix}": f"{ours}.{suffix}" for theirs, ours in pairs for suffix in ("weight", "bias")
    }


_HF = _Names(
    plain=_pairs(
        ("model.encoder.conv1", "encoder.conv1"),
        ("model.encoder.conv2", "encoder.conv2"),
        ("model.encoder.layer_norm", "encoder.ln"),
        ("model.decoder.layer_norm", "decoder.ln"),
    )
    | {
        "model.encoder.embed_positions.weight": "encoder.positions",
        "model.decoder.embed_positions.weight": "decoder.positions",
        "model.decoder.embed_tokens.weight": "decoder.embedding",
    },
    parts={
        "encoder": {
            "self_attn_layer_norm": "attn_ln",
            "self_attn.out_proj": "attn.out",
            "final_layer_norm": "mlp_ln",
            "fc1": "mlp.fc1",
            "fc2": "mlp.fc2",
        },
        "decoder": {
            "self_attn_layer_norm": "attn_ln",
            "self_attn.out_proj": "attn.out",
            "encoder_attn_layer_norm": "cross_ln",
            "encoder_attn.q_proj": "cross.q",
            "encoder_attn.out_proj": "cross.out",
            "final_layer_norm": "mlp_ln",
            "fc1": "mlp.fc1",
            "fc2": "mlp.fc2",
        },
    },
    blocks="layers",
    prefix="model.",
    attn="self_attn",
    cross="encoder_attn",
    letters={"q": "q_proj", "k": "k_proj", "v": "v_proj"},
    first_norm="self_attn_layer_norm",
)
_OPENAI_ENCODER = {
    "attn_ln": "attn_ln",
    "attn.out": "attn.out",
    "mlp_ln": "mlp_ln",
    "mlp.0": "mlp.fc1",
    "mlp.2": "mlp.fc2",
}
_OPENAI = _Names(
    plain=_pairs(
        ("encoder.conv1", "encoder.conv1"),
        ("encoder.conv2", "encoder.conv2"),
        ("encoder.ln_post", "encoder.ln"),
        ("decoder.ln", "decoder.ln"),
    )
    | {
        "encoder.positional_embedding": "encoder.positions",
        "decoder.positional_embedding": "decoder.positions",
        "decoder.token_embedding.weight": "decoder.embedding",
    },
    parts={
        "encoder": _OPENAI_ENCODER,
        "decoder": _OPENAI_ENCODER
        | {"cross_attn_ln": "cross_ln", "cross_attn.query": "cross.q", "cross_attn.out": "cross.out"},
    },
    blocks="blocks",
    prefix="",
    attn="attn",
    cross="cross_attn",
    letters={"q": "query", "k": "key", "v": "value"},
    first_norm="attn_ln",
)


def read_hf(path: Path) -> Checkpoint:
    source: dict[str, torch.Tensor] = {}
    for part in sorted(path.glob("*.safetensors")):
        with safe_open(part, framework="pt") as file:
            source.update({name: file.get_tensor(name) for name in file.keys()})
    config, generation = read_json(path / "config.json"), read_json(path / "generation_config.json")
    try:
        tensors = _stacked(source, _HF)
    except KeyError as missing:
        raise BadCheckpoint(f"the checkpoint lacks {missing}") from None
    return Checkpoint(
        tensors,
        int(config.get("encoder_attention_heads") or tensors["encoder.positions"].shape[1] // 64),
        [(int(layer), int(head)) for layer, head in generation.get("alignment_heads") or ()],
        generation.get("suppress_tokens") or config.get("suppress_tokens") or [],
        generation.get("begin_suppress_tokens") or config.get("begin_suppress_tokens") or [],
    )


def read_openai(path: Path) -> Checkpoint:
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        tensors = _stacked(loaded["model_state_dict"], _OPENAI)
    except (KeyError, TypeError, RuntimeError) as problem:
        raise BadCheckpoint(f"{path.name} is not a Whisper checkpoint ({type(problem).__name__})") from None
    return Checkpoint(tensors, int(loaded["dims"]["n_audio_head"]))

"""A checkpoint in memory, under this package's names of the parameters.

`{encoder,decoder}.blocks.N.{attn_ln,attn.qkv,attn.out,cross_ln,cross.q,cross.kv,cross.out,mlp_ln,mlp.fc1,mlp.fc2}`,
`encoder.conv{1,2}`, `{encoder,decoder}.ln`, each with `.weight` and `.bias`, and `{encoder,decoder}.positions`,
`decoder.embedding`. Queries, keys and values are stacked; the key has a zero bias.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from asr.models.dims import Dims


class BadCheckpoint(ValueError):
    """The files are not a Whisper checkpoint that can be read."""


@dataclass(slots=True)
class Checkpoint:
    """Tensors under this package's names, and what the files say beside them."""

    tensors: dict[str, torch.Tensor]
    heads: int  # attention heads, same in encoder and decoder
    alignment_heads: list[tuple[int, int]] = field(default_factory=list)
    suppress: list[int] = field(default_factory=list)
    suppress_begin: list[int] = field(default_factory=list)

    def dims(self) -> Dims:
        """Sizes, read off the tensors.

        Raises:
            BadCheckpoint: a tensor is missing.
        """
        try:
            conv = self.tensors["encoder.conv1.weight"]
            audio = self.tensors["encoder.positions"]
            text = self.tensors["decoder.positions"]
            vocab = self.tensors["decoder.embedding"]
        except KeyError as missing:
            raise BadCheckpoint(f"the checkpoint lacks {missing}") from None
        return Dims(
            n_mels=conv.shape[1],
            n_vocab=vocab.shape[0],
            n_audio_ctx=audio.shape[0],
            n_audio_state=audio.shape[1],
            n_audio_head=self.heads,
            n_audio_layer=_blocks(self.tensors, "encoder"),
            n_text_ctx=text.shape[0],
            n_text_state=text.shape[1],
            n_text_head=self.heads,
            n_text_layer=_blocks(self.tensors, "decoder"),
        )


def _blocks(tensors: Mapping[str, torch.Tensor], side: str) -> int:
    return sum(name.startswith(f"{side}.blocks.") and name.endswith(".attn_ln.weight") for name in tensors)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file; an empty one when there is no file."""
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}

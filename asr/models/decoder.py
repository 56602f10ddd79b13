"""Text decoder over static slots: prompts, single steps and verified guesses go through one call."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from asr.models.attention import Attention, PromptAttention, RowAttention, StepAttention, rows_are_dense
from asr.models.cache import DecoderCache
from asr.models.dims import Dims
from asr.models.encoder import Norm, Weights
from asr.models.quant import Linear


@dataclass(frozen=True, slots=True)
class Segment:
    """Tokens to append to one row, and which of them are asked what follows."""

    row: int
    tokens: Sequence[int]
    wanted: Sequence[int]  # indices into tokens, ascending


class _Block:
    """The parameters of one layer."""

    def __init__(self, name: str, linear: Callable[[str], Linear], norm: Callable[[str], Norm]) -> None:
        self.attn_ln, self.cross_ln, self.mlp_ln = (
            norm(f"{name}.{part}_ln") for part in ("attn", "cross", "mlp")
        )
        self.qkv, self.out = linear(f"{name}.attn.qkv"), linear(f"{name}.attn.out")
        self.cross_q, self.cross_out = linear(f"{name}.cross.q"), linear(f"{name}.cross.out")
        self.fc1, self.fc2 = linear(f"{name}.mlp.fc1"), linear(f"{name}.mlp.fc2")


class Decoder:
    """The decoder stack, its cache and its output projection."""

    def __init__(
        self,
        dims: Dims,
        weights: Weights,
        linear: Callable[[str], Linear],
        cross_kv: Callable[[str], Linear],
        project: Linear,
        cache: DecoderCache,
        *,
        kind: torch.dtype,
        device: torch.device,
    ) -> None:
        self.cache = cache
        self._kind, self._device = kind, device
        self._attention, self._text = cache.kind, cache.text.dtype
        self._heads, self._state = dims.n_text_head, dims.n_text_state
        # Kept as stored, rows are converted when read; a copy, so that the file need not stay mapped.
        self._embedding = weights("decoder.embedding").to(device, copy=True)
        self._positions = weights("decoder.positions").to(device, kind)

        def norm(name: str) -> Norm:
            return Norm(weights, name, kind, device)

        names = [f"decoder.blocks.{index}" for index in range(dims.n_text_layer)]
        self._blocks = [_Block(name, linear, norm) for name in names]
        self._cross_kv = [cross_kv(f"{name}.cross.kv") for name in names]
        self._ln = norm("decoder.ln")
        self._project = project

    def linears(self) -> list[Linear]:
        """The products of a step but the vocabulary's."""
        return [
            linear
            for block in self._blocks
            for linear in (block.qkv, block.out, block.cross_q, block.cross_out, block.fc1, block.fc2)
        ]

    def hear(self, row: int, states: torch.Tensor) -> None:
        """Gives a row its audio (states [n, state]) and empties its text."""
        n = len(states)
        self.cache.hear(row, n)
        for cross_kv, kept in zip(self._cross_kv, self.cache.audio[:, :, row, :, :n].unbind(0), strict=True):
            kept.copy_(cross_kv(states).view(n, 2, self._heads, -1).permute(1, 2, 0, 3))

    def hidden(self, segments: Sequence[Segment]) -> torch.Tensor:
        """Appends each segment to its row -> states [wanted of all segments in order, state]."""
        tokens = [token for segment in segments for token in segment.tokens]
        starts = [self.cache.text_length[segment.row] for segment in segments]
        places = [
            s + i for s, segment in zip(starts, segments, strict=True) for i in range(len(segment.tokens))
        ]
        ids, at = torch.tensor(tokens, device=self._device), torch.tensor(places, device=self._device)
        slots = [segment.row for segment in segments]
        attend: Attention
        if len(tokens) == 1:
            attend = RowAttention(self.cache, slots[0], starts[0])
        elif rows_are_dense(slots) and len(tokens) == len(slots):
            attend = StepAttention(self.cache, slots, starts, self._device)
        else:
            counts = [len(segment.tokens) for segment in segments]
            attend = PromptAttention(self.cache, slots, starts, counts, self._device)
        x = self.states(ids, at, attend)
        for start, segment in zip(starts, segments, strict=True):
            self.cache.text_length[segment.row] = start + len(segment.tokens)
        wanted, first = [], 0
        for segment in segments:
            wanted += [first + index for index in segment.wanted]
            first += len(segment.tokens)
        if len(wanted) != len(tokens):
            x = x[torch.tensor(wanted, device=self._device)]
        return x

    def states(self, tokens: torch.Tensor, places: torch.Tensor, attend: Attention) -> torch.Tensor:
        """The layers alone: tokens [n] at their places [n] in the text -> states [n, state]."""
        x = self._embedding[tokens].to(self._kind)
        x += self._positions[places]
        rows, heads = len(tokens), self._heads
        for layer, block in enumerate(self._blocks):
            qkv = block.qkv(block.attn_ln(x)).to(self._text).view(rows, 3, heads, -1)
            x += block.out(attend.text(layer, qkv).view(rows, -1))
            q = block.cross_q(block.cross_ln(x)).to(self._attention).view(rows, heads, -1)
            x += block.cross_out(attend.audio(layer, q).view(rows, -1))
            x += block.fc2(F.gelu(block.fc1(block.mlp_ln(x))))
        return x

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """States [n, state] -> logits [n, vocabulary] float32."""
        return self._project(self._ln(hidden)).float()

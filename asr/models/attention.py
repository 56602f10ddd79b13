"""Attention of the decoder over its cache: one token per row, or several.

Indices and masks are made once per call and used by every layer.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F

from asr.models.cache import DecoderCache, layer_pairs

_attend = F.scaled_dot_product_attention


class Attention(Protocol):
    """What the layers ask of the cache; both answer [tokens, heads, width]."""

    def text(self, layer: int, qkv: torch.Tensor) -> torch.Tensor:
        """qkv [tokens, 3, heads, width]: keys and values join the cache, queries look at it."""

    def audio(self, layer: int, q: torch.Tensor) -> torch.Tensor:
        """q [tokens, heads, width]."""


def rows_are_dense(rows: Sequence[int]) -> bool:
    """Whether the rows follow one another, so that a slice of the cache holds them."""
    return list(rows) == list(range(rows[0], rows[0] + len(rows)))


class RowAttention:
    """One token for one row."""

    def __init__(self, cache: DecoderCache, row: int, place: int) -> None:
        self._text, self._mask = cache.said(row, place + 1)
        self._audio = cache.heard(row)
        self._written = cache.text[:, :, row, :, place].unbind(0)  # per layer [2, heads, width]
        self._queries = {layer: queries[row, :, place] for layer, queries in cache.queries.items()}

    def folded(self) -> list[torch.Tensor]:
        """All it reads and writes, as `unfolded` takes it."""
        pairs = [tensor for pair in (*self._text, *self._audio) for tensor in pair]
        return [self._mask, *pairs, *self._written, *self._queries.values()]

    @classmethod
    def unfolded(cls, tensors: Sequence[torch.Tensor], cache: DecoderCache) -> "RowAttention":
        """The attention of what `folded` gave, for a cache with the layers of this one."""
        self, layers = cls.__new__(cls), cache.text.shape[0]
        rest = iter(tensors)
        self._mask = next(rest)
        self._text, self._audio = ([(next(rest), next(rest)) for _ in range(layers)] for _ in range(2))
        self._written = tuple(next(rest) for _ in range(layers))
        self._queries = {layer: next(rest) for layer in cache.queries}
        return self

    def text(self, layer: int, qkv: torch.Tensor) -> torch.Tensor:
        """qkv [1, 3, heads, width] -> [1, heads, width]; keys and values join the cache."""
        self._written[layer].copy_(qkv[0, 1:])
        keys, values = self._text[layer]
        return _attend(qkv[:, 0].unsqueeze(2), keys, values, attn_mask=self._mask).squeeze(2)

    def audio(self, layer: int, q: torch.Tensor) -> torch.Tensor:
        """q [1, heads, width] -> [1, heads, width]."""
        if (queries := self._queries.get(layer)) is not None:
            queries.copy_(q[0])
        keys, values = self._audio[layer]
        return _attend(q.unsqueeze(2), keys, values).squeeze(2)


class StepAttention:
    """One token for each of a dense run of rows."""

    def __init__(
        self, cache: DecoderCache, rows: Sequence[int], places: Sequence[int], device: torch.device
    ) -> None:
        first, last = rows[0], rows[0] + len(rows)
        length = max(places) + 1
        self._queries = cache.queries
        self._rows = torch.tensor(rows, device=device)
        self._places = torch.tensor(places, device=device)
        self._text = layer_pairs(cache.text[:, :, first:last, :, :length])
        self._written = cache.text.permute(0, 2, 4, 1, 3, 5).unbind(0)  # [slots, text, 2, heads, width]
        self._text_mask = _mask([place + 1 for place in places], length, device)
        # Rows are attended to one by one at their own length; GPUs, where launches cost more than padding, take
        # their single steps elsewhere (graphs.py).
        self._audio = [cache.heard(row) for row in rows]

    def text(self, layer: int, qkv: torch.Tensor) -> torch.Tensor:
        """qkv [rows, 3, heads, width] -> [rows, heads, width]; keys and values join the cache."""
        self._written[layer].index_put_((self._rows, self._places), qkv[:, 1:])
        keys, values = self._text[layer]
        return _attend(qkv[:, 0].unsqueeze(2), keys, values, attn_mask=self._text_mask).squeeze(2)

    def audio(self, layer: int, q: torch.Tensor) -> torch.Tensor:
        """q [rows, heads, width] -> [rows, heads, width]."""
        if (queries := self._queries.get(layer)) is not None:
            queries.transpose(1, 2).index_put_((self._rows, self._places), q)
        q = q.unsqueeze(2)
        mixed = [_attend(q[i : i + 1], *heard[layer]) for i, heard in enumerate(self._audio)]
        return torch.cat(mixed).squeeze(2)


class PromptAttention:
    """Several tokens for any rows, each row on its own."""

    def __init__(
        self,
        cache: DecoderCache,
        rows: Sequence[int],
        starts: Sequence[int],
        counts: Sequence[int],
        device: torch.device,
    ) -> None:
        self._cache = cache
        self._parts = []
        first = 0
        for row, start, count in zip(rows, starts, counts, strict=True):
            mask = None
            if start and count > 1:  # the diagonal ends at the last key
                mask = torch.ones(count, start + count, dtype=torch.bool, device=device).tril_(start)
            end = start + count
            seen = layer_pairs(cache.text[:, :, row : row + 1, :, :end])
            written = cache.text[:, :, row, :, start:end].unbind(0)  # per layer [2, heads, count, width]
            self._parts.append((slice(first, first + count), row, slice(start, end), mask, seen, written))
            first += count

    def text(self, layer: int, qkv: torch.Tensor) -> torch.Tensor:
        """qkv [rows, 3, heads, width] -> [rows, heads, width]; keys and values join the cache."""
        qkv = qkv.permute(1, 2, 0, 3)  # [3, heads, rows, width]
        mixed = []
        for at, _, place, mask, seen, written in self._parts:
            written[layer].copy_(qkv[1:, :, at])
            causal = mask is None and place.stop - place.start > 1
            q = qkv[:1, :, at]
            mixed.append(_attend(q, *seen[layer], attn_mask=mask, is_causal=causal)[0].transpose(0, 1))
        return torch.cat(mixed)

    def audio(self, layer: int, q: torch.Tensor) -> torch.Tensor:
        """q [rows, heads, width] -> [rows, heads, width]."""
        q = q.transpose(0, 1)  # [heads, rows, width]
        queries = self._cache.queries.get(layer)
        mixed = []
        for at, row, place, *_ in self._parts:
            if queries is not None:
                queries[row, :, place] = q[:, at]
            mixed.append(_attend(q[None, :, at], *self._cache.heard(row)[layer])[0].transpose(0, 1))
        return torch.cat(mixed)


def _mask(lengths: Sequence[int], longest: int, device: torch.device) -> torch.Tensor:
    """True where a key is seen: [rows, 1, 1, longest]."""
    ends = torch.tensor(lengths, device=device)[:, None]
    return (torch.arange(longest, device=device)[None] < ends)[:, None, None]

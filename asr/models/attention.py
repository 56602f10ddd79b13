"""Attention of the decoder over its cache: one token per row, or several.

Indices and masks are made once per call and used by every layer.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from asr.models.cache import DecoderCache

_attend = F.scaled_dot_product_attention


def rows_are_dense(rows: Sequence[int]) -> bool:
    """Whether the rows follow one another, so that a slice of the cache holds them."""
    return list(rows) == list(range(rows[0], rows[0] + len(rows)))


class StepAttention:
    """One token for each of a dense run of rows."""

    def __init__(
        self, cache: DecoderCache, rows: Sequence[int], places: Sequence[int], device: torch.device
    ) -> None:
        self._cache = cache
        self._slots = slice(rows[0], rows[0] + len(rows))
        self._length = max(places) + 1
        self._at = places[0]
        self._rows = torch.tensor(rows, device=device)
        self._places = torch.tensor(places, device=device)
        self._single = len(rows) == 1
        self._text_mask = (
            None if self._single else _mask([place + 1 for place in places], self._length, device)
        )
        lengths = [cache.audio_length[row] for row in rows]
        self._audio = [
            (i, slice(row, row + 1), n) for i, (row, n) in enumerate(zip(rows, lengths, strict=True))
        ]
        self._audio_length = max(lengths)
        # On CPU rows are attended to one by one at their own length; on a GPU launches cost more than padding.
        self._padded = device.type != "cpu"
        self._audio_mask = _mask(lengths, self._audio_length, device) if self._padded else None

    def text(self, layer: int, qkv: torch.Tensor) -> torch.Tensor:
        """qkv [rows, 3, heads, width] -> [rows, heads, width]; keys and values join the cache."""
        q, k, v = qkv.unbind(1)
        keys, values = self._cache.self_k[layer], self._cache.self_v[layer]  # [slots, heads, text, width]
        if self._single:
            keys[self._slots, :, self._at] = k
            values[self._slots, :, self._at] = v
        else:
            keys.transpose(1, 2).index_put_((self._rows, self._places), k)
            values.transpose(1, 2).index_put_((self._rows, self._places), v)
        keys, values = keys[self._slots, :, : self._length], values[self._slots, :, : self._length]
        return _attend(q.unsqueeze(2), keys, values, attn_mask=self._text_mask).squeeze(2)

    def audio(self, layer: int, q: torch.Tensor) -> torch.Tensor:
        """q [rows, heads, width] -> [rows, heads, width]."""
        if (queries := self._cache.cross_q.get(layer)) is not None:
            queries.transpose(1, 2).index_put_((self._rows, self._places), q)
        keys, values = self._cache.cross_k[layer], self._cache.cross_v[layer]
        q = q.unsqueeze(2)
        if self._padded:
            keys, values = (
                keys[self._slots, :, : self._audio_length],
                values[self._slots, :, : self._audio_length],
            )
            return _attend(q, keys, values, attn_mask=self._audio_mask).squeeze(2)
        mixed = [_attend(q[i : i + 1], keys[at, :, :n], values[at, :, :n]) for i, at, n in self._audio]
        return (mixed[0] if self._single else torch.cat(mixed)).squeeze(2)


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
            self._parts.append((slice(first, first + count), row, start, start + count, mask))
            first += count

    def text(self, layer: int, qkv: torch.Tensor) -> torch.Tensor:
        """qkv [rows, 3, heads, width] -> [rows, heads, width]; keys and values join the cache."""
        q, k, v = qkv.permute(1, 2, 0, 3)  # each [heads, rows, width]
        keys, values = self._cache.self_k[layer], self._cache.self_v[layer]
        mixed = []
        for at, row, start, end, mask in self._parts:
            keys[row, :, start:end] = k[:, at]
            values[row, :, start:end] = v[:, at]
            causal = mask is None and end - start > 1
            seen = keys[None, row, :, :end], values[None, row, :, :end]
            mixed.append(_attend(q[None, :, at], *seen, attn_mask=mask, is_causal=causal)[0].transpose(0, 1))
        return torch.cat(mixed)

    def audio(self, layer: int, q: torch.Tensor) -> torch.Tensor:
        """q [rows, heads, width] -> [rows, heads, width]."""
        q = q.transpose(0, 1)  # [heads, rows, width]
        queries = self._cache.cross_q.get(layer)
        keys, values = self._cache.cross_k[layer], self._cache.cross_v[layer]
        mixed = []
        for at, row, start, end, _ in self._parts:
            if queries is not None:
                queries[row, :, start:end] = q[:, at]
            n = self._cache.audio_length[row]
            heard = keys[None, row, :, :n], values[None, row, :, :n]
            mixed.append(_attend(q[None, :, at], *heard)[0].transpose(0, 1))
        return torch.cat(mixed)


def _mask(lengths: Sequence[int], longest: int, device: torch.device) -> torch.Tensor:
    """True where a key is seen: [rows, 1, 1, longest]."""
    ends = torch.tensor(lengths, device=device)[:, None]
    return (torch.arange(longest, device=device)[None] < ends)[:, None, None]

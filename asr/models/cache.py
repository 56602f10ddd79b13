"""Keys and values of every slot, allocated once."""

import math
import mmap
from functools import partial

import torch

from asr.models.dims import Dims

Pair = tuple[torch.Tensor, torch.Tensor]  # keys and values
# The text of one row is attended to up to a multiple of this, so that the views of it can be kept.
_TEXT_STRIDE = 32


class DecoderCache:
    """Static memory of `slots` rows. Active rows are kept dense by the caller, who moves the last into a hole.

    All layers share one tensor, so that the views of a step are made once and not once per layer. Pages of host
    memory that no row has touched cost nothing.

    Args:
        dims: sizes of the checkpoint.
        slots: rows.
        audio: most positions a row hears.
        kind: type of the audio's keys and values, and of the queries.
        text: type of the text's. There is little of it: on CPU a conversion costs more than its bytes.
        device: where it lies.
        aligned: layers whose cross-attention queries are kept.
    """

    def __init__(
        self,
        dims: Dims,
        slots: int,
        audio: int,
        kind: torch.dtype,
        text: torch.dtype,
        device: torch.device,
        aligned: set[int],
    ) -> None:
        layers, heads = dims.n_text_layer, dims.n_text_head
        width = dims.n_text_state // heads
        places = dims.n_text_ctx + 1  # the last is for rows that step with others and have nothing to say
        self.slots, self.kind = slots, kind
        # Rows of different lengths are attended to together under a mask, and a masked NaN is still NaN: zeros.
        zeros = _untouched if device.type == "cpu" else partial(torch.zeros, device=device)
        # [layers, keys and values, slots, heads, text or audio, width]
        self.text = zeros((layers, 2, slots, heads, places, width), dtype=text)
        self.audio = zeros((layers, 2, slots, heads, audio, width), dtype=kind)
        # Cross-attention queries of the layers that have alignment heads: word times come from them.
        queries = (slots, heads, places, width)
        self.queries = {layer: torch.zeros(queries, dtype=kind, device=device) for layer in aligned}
        self.text_length = [0] * slots
        self.audio_length = [0] * slots
        self._heard: list[list[Pair]] = [[] for _ in range(slots)]
        self._said: dict[tuple[int, int], list[Pair]] = {}
        # Any run of it that ends behind the zeros is a mask: 0 where there is text, -inf behind.
        self._ends = torch.zeros(1, 1, 1, 2 * places, dtype=text, device=device)
        self._ends[..., places:] = -math.inf

    def hear(self, row: int, positions: int) -> None:
        """Says how much audio a row has, and that it has no text."""
        self.audio_length[row], self.text_length[row] = positions, 0
        self._heard[row] = layer_pairs(self.audio[:, :, row : row + 1, :, :positions])

    def heard(self, row: int) -> list[Pair]:
        """Per layer the keys and values of a row's audio, each [1, heads, positions, width]."""
        return self._heard[row]

    def said(self, row: int, length: int) -> tuple[list[Pair], torch.Tensor]:
        """The first `length` places of a row's text, and some behind.

        Returns:
            Per layer keys and values [1, heads, n, width], and the mask [1, 1, 1, n] that hides what is behind.
        """
        places = self.text.shape[4]
        n = min(-(-length // _TEXT_STRIDE) * _TEXT_STRIDE, places)
        if (pairs := self._said.get((row, n))) is None:
            pairs = self._said[row, n] = layer_pairs(self.text[:, :, row : row + 1, :, :n])
        first = places - length
        return pairs, self._ends[..., first : first + n]

    def move(self, source: int, target: int) -> None:
        """Copies a row whole."""
        positions = self.audio_length[source]
        self.hear(target, positions)
        self.audio[:, :, target, :, :positions].copy_(self.audio[:, :, source, :, :positions])
        self.copy_text(source, target)

    def copy_text(self, source: int, target: int) -> None:
        """Copies what a row has decoded, not what it hears."""
        text = self.text_length[target] = self.text_length[source]
        self.text[:, :, target, :, :text].copy_(self.text[:, :, source, :, :text])
        for queries in self.queries.values():
            queries[target, :, :text].copy_(queries[source, :, :text])

    def reorder_text(self, rows: list[int], parents: list[int]) -> None:
        """Row rows[i] continues what row parents[i] has decoded (beam search); both name the same set of slots."""
        if rows == parents:
            return
        text = max(self.text_length[row] for row in parents)
        self.text[:, :, rows, :, :text] = self.text[:, :, parents, :, :text]
        for queries in self.queries.values():
            queries[rows, :, :text] = queries[parents, :, :text]
        lengths = [self.text_length[row] for row in parents]
        for row, length in zip(rows, lengths, strict=True):
            self.text_length[row] = length


def layer_pairs(memory: torch.Tensor) -> list[Pair]:
    """[layers, 2, ...] -> per layer keys and values, views."""
    return [(pair[0], pair[1]) for pair in memory.unbind(0)]


def _untouched(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Zeros that take no memory until they are written, page by small page; torch would write them all."""
    memory = mmap.mmap(-1, math.prod(shape) * dtype.itemsize, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    return torch.frombuffer(memory, dtype=dtype).view(shape)

"""Keys and values of every slot, allocated once."""

import torch

from asr.models.dims import Dims

Pair = tuple[torch.Tensor, torch.Tensor]  # keys and values


class DecoderCache:
    """Static memory of `slots` rows. Active rows are kept dense by the caller, who moves the last into a hole.

    All layers share one tensor, so that the views of a step are made once and not once per layer. Pages of host
    memory that no row has touched cost nothing.
    """

    def __init__(
        self, dims: Dims, slots: int, audio: int, kind: torch.dtype, device: torch.device, aligned: set[int]
    ) -> None:
        layers, heads = dims.n_text_layer, dims.n_text_head
        width = dims.n_text_state // heads
        text = dims.n_text_ctx + 1  # the last place is for rows that step with others and have nothing to say
        self.slots, self.kind = slots, kind
        # Rows of different lengths are attended to together under a mask, and a masked NaN is still NaN: text starts
        # as zeros. Audio does too where it is masked (GPU).
        heard = torch.empty if device.type == "cpu" else torch.zeros
        # [layers, keys and values, slots, heads, text or audio, width]
        self.text = torch.zeros((layers, 2, slots, heads, text, width), dtype=kind, device=device)
        self.audio = heard((layers, 2, slots, heads, audio, width), dtype=kind, device=device)
        # Cross-attention queries of the layers that have alignment heads: word times come from them.
        queries = (slots, heads, text, width)
        self.queries = {layer: torch.zeros(queries, dtype=kind, device=device) for layer in aligned}
        self.text_length = [0] * slots
        self.audio_length = [0] * slots
        self._heard: list[list[Pair]] = [[] for _ in range(slots)]

    def hear(self, row: int, positions: int) -> None:
        """Says how much audio a row has, and that it has no text."""
        self.audio_length[row], self.text_length[row] = positions, 0
        self._heard[row] = layer_pairs(self.audio[:, :, row : row + 1, :, :positions])

    def heard(self, row: int) -> list[Pair]:
        """Per layer the keys and values of a row's audio, each [1, heads, positions, width]."""
        return self._heard[row]

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

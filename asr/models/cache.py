"""Keys and values of every slot, allocated once."""

from collections.abc import Callable

import torch

from asr.models.dims import Dims


class DecoderCache:
    """Static memory of `slots` rows. Active rows are kept dense by the caller, who moves the last into a hole.

    Pages of host memory that no row has touched cost nothing.
    """

    def __init__(
        self, dims: Dims, slots: int, audio: int, kind: torch.dtype, device: torch.device, aligned: set[int]
    ) -> None:
        layers, heads = dims.n_text_layer, dims.n_text_head
        width = dims.n_text_state // heads
        text = dims.n_text_ctx

        def make(length: int, fill: Callable[..., torch.Tensor]) -> list[torch.Tensor]:
            shape = (slots, heads, length, width)
            return [fill(shape, dtype=kind, device=device) for _ in range(layers)]

        self.slots = slots
        # Rows of different lengths are attended to together under a mask, and a masked NaN is still NaN: text starts
        # as zeros. Audio does too where it is masked (GPU).
        heard = torch.empty if device.type == "cpu" else torch.zeros
        # Each per layer [slots, heads, text or audio, width].
        self.self_k, self.self_v = make(text, torch.zeros), make(text, torch.zeros)
        self.cross_k, self.cross_v = make(audio, heard), make(audio, heard)
        # Cross-attention queries of the layers that have alignment heads: word times come from them.
        queries = (slots, heads, text, width)
        self.cross_q = {layer: torch.zeros(queries, dtype=kind, device=device) for layer in aligned}
        self.text_length = [0] * slots
        self.audio_length = [0] * slots

    def move(self, source: int, target: int) -> None:
        """Copies a row whole."""
        self.copy_text(source, target)
        audio = self.audio_length[target] = self.audio_length[source]
        for memory in (*self.cross_k, *self.cross_v):
            memory[target, :, :audio].copy_(memory[source, :, :audio])

    def copy_text(self, source: int, target: int) -> None:
        """Copies what a row has decoded, not what it hears."""
        text = self.text_length[target] = self.text_length[source]
        for memory in (*self.self_k, *self.self_v, *self.cross_q.values()):
            memory[target, :, :text].copy_(memory[source, :, :text])

    def reorder_text(self, rows: list[int], parents: list[int]) -> None:
        """Row rows[i] continues what row parents[i] has decoded (beam search); both name the same set of slots."""
        if rows == parents:
            return
        text = max(self.text_length[row] for row in parents)
        for memory in (*self.self_k, *self.self_v, *self.cross_q.values()):
            memory[rows, :, :text] = memory[parents, :, :text]
        lengths = [self.text_length[row] for row in parents]
        for row, length in zip(rows, lengths, strict=True):
            self.text_length[row] = length

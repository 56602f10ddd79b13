"""Single decoder steps on CPU as TorchScript: the same operators without the interpreter of Python between them.

A step reads all weights, which leaves little in the caches of a core but them. So whatever runs between two products
is fetched from memory again, and that of Python is most of it: recorded once, a step takes three quarters of the time.
"""

import warnings
from collections.abc import Callable, Sequence

import torch

from asr.models.attention import RowAttention
from asr.models.cache import DecoderCache
from asr.models.decoder import Decoder, Segment
from asr.models.quant import Bf16Linear, Int8Linear


class _Step(torch.nn.Module):
    """The layers of the decoder for one token of one row, with all they read and write as arguments."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self._decoder = decoder
        # Packed weights are no tensors: the recorder knows those that belong to the module.
        for index, linear in enumerate(decoder.linears()):
            if isinstance(linear, Int8Linear):
                setattr(self, f"packed_{index}", linear.packed)

    def forward(self, token: torch.Tensor, place: torch.Tensor, memory: list[torch.Tensor]) -> torch.Tensor:
        attend = RowAttention.unfolded(memory, self._decoder.cache)
        return self._decoder.states(token, place, attend)


class TracedSteps:
    """Runs a step of a single row as recorded; everything else goes the decoder's ordinary way."""

    def __init__(self, decoder: Decoder, threads: int) -> None:
        self._decoder, self._cache, self._threads = decoder, decoder.cache, threads
        # Weights in the layout of oneDNN cannot be recorded.
        recordable = not any(isinstance(linear, Bf16Linear) for linear in decoder.linears())
        self._step = self._record() if recordable else None

    def _record(self) -> Callable[..., torch.Tensor]:
        self._cache.audio[:, :, 0, :, :1] = 0  # what was never written may be no number
        self._cache.hear(0, 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes that are taken for constants, which they are
            step: Callable[..., torch.Tensor] = torch.jit.trace(  # type: ignore[no-untyped-call]
                _Step(self._decoder), _inputs(self._cache, 0, 0), check_trace=False
            )
        self._cache.hear(0, 0)
        return step

    def prepare(self) -> None:
        """Nothing is left to do."""

    def __call__(self, segments: Sequence[Segment]) -> torch.Tensor:
        """Appends tokens to rows -> logits [wanted, n_logits] float32, in the order of the segments."""
        segment = segments[0]
        if self._step and len(segments) == len(segment.tokens) == len(segment.wanted) == 1:
            # Its products end before a second core has woken up; only the vocabulary is worth sharing.
            torch.set_num_threads(1)
            hidden = self._step(*_inputs(self._cache, segment.row, segment.tokens[0]))
            torch.set_num_threads(self._threads)
            self._cache.text_length[segment.row] += 1
        else:
            hidden = self._decoder.hidden(segments)
        return self._decoder.logits(hidden)


def _inputs(
    cache: DecoderCache, row: int, token: int
) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    place = cache.text_length[row]
    return torch.tensor([token]), torch.tensor([place]), RowAttention(cache, row, place).folded()

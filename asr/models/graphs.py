"""Steps of one token a row at fixed shapes and addresses, as CUDA graphs: one launch in place of hundreds.

Rows and positions of audio are rounded up to a few sizes, each pair of them is one graph. Everything a step depends on
besides the cache lies in one small tensor that is filled before the graph is replayed. Rows that take no step do one
too, at a place behind the text context that nobody reads.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from asr.models.cache import DecoderCache, layer_pairs
from asr.models.decoder import Decoder, Segment
from common.logs import get_logger

log = get_logger()

_WARM_RUNS = 2  # before a capture: libraries allocate and choose kernels on first use


class _FixedAttention:
    """Attention of rows 0 to `rows` over the whole text context and `positions` of audio, under masks."""

    def __init__(
        self, cache: DecoderCache, rows: int, positions: int, places: torch.Tensor, heard: torch.Tensor
    ) -> None:
        device = places.device
        self._queries, self._places = cache.queries, places
        self._rows = torch.arange(rows, device=device)
        self._written = cache.text.permute(0, 2, 4, 1, 3, 5).unbind(0)  # [slots, text, 2, heads, width]
        self._text = layer_pairs(cache.text[:, :, :rows])
        self._audio = layer_pairs(cache.audio[:, :, :rows, :, :positions])
        text = torch.arange(cache.text.shape[4], device=device)
        self._text_mask = (text <= places[:, None])[:, None, None]
        self._audio_mask = (torch.arange(positions, device=device) < heard[:, None])[:, None, None]

    def text(self, layer: int, qkv: torch.Tensor) -> torch.Tensor:
        self._written[layer].index_put_((self._rows, self._places), qkv[:, 1:])
        return self._attend(qkv[:, 0], self._text[layer], self._text_mask)

    def audio(self, layer: int, q: torch.Tensor) -> torch.Tensor:
        if (queries := self._queries.get(layer)) is not None:
            queries.transpose(1, 2).index_put_((self._rows, self._places), q)
        return self._attend(q, self._audio[layer], self._audio_mask)

    @staticmethod
    def _attend(q: torch.Tensor, pair: tuple[torch.Tensor, torch.Tensor], mask: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(q.unsqueeze(2), *pair, attn_mask=mask).squeeze(2)


class FixedSteps:
    """Takes single steps out of a call and runs them together; everything longer goes the decoder's ordinary way."""

    def __init__(self, decoder: Decoder) -> None:
        cache = decoder.cache
        self._decoder, self._cache = decoder, cache
        device = cache.text.device
        self._graphs = device.type == "cuda"  # elsewhere the same step runs without one
        self._host = torch.zeros(cache.slots, 3, dtype=torch.long, pin_memory=self._graphs)
        self._inputs = self._host.to(device)
        self._scratch = cache.text.shape[4] - 1  # the place nobody reads
        self._idle = (0, self._scratch, 1)  # token, place, positions heard
        # Graphs take turns and their answers are read in between, so they may share their memory.
        self._pool = torch.cuda.graph_pool_handle() if self._graphs else None
        self._captured: dict[tuple[int, int], tuple[torch.cuda.CUDAGraph, torch.Tensor]] = {}
        self._row_sizes = _sizes(cache.slots, smallest=1)
        self._audio_sizes = _sizes(cache.audio.shape[4], smallest=cache.audio.shape[4] // 4)

    def prepare(self) -> None:
        """Captures every graph, so that no request waits for one."""
        for rows in self._row_sizes:
            for positions in self._audio_sizes:
                self._fill([self._idle] * rows)
                self._run(rows, positions)

    def __call__(self, segments: Sequence[Segment]) -> torch.Tensor:
        """Appends tokens to rows -> logits [wanted, n_logits] float32, in the order of the segments."""
        single = [_is_step(segment) for segment in segments]
        steps = [segment for segment, alone in zip(segments, single, strict=True) if alone]
        longer = [segment for segment, alone in zip(segments, single, strict=True) if not alone]
        parts = [self._decoder.logits(self._decoder.hidden(longer))] if longer else []
        if steps:
            parts.append(self._step(steps))
        # Where each row of the answer lies in the parts: those of the longer ones came first.
        before, order = sum(len(segment.wanted) for segment in longer), []
        read = 0
        for segment, alone in zip(segments, single, strict=True):
            if alone:
                order.append(before + segment.row)
            else:
                order += range(read, read + len(segment.wanted))
                read += len(segment.wanted)
        return torch.cat(parts)[torch.tensor(order, device=self._inputs.device)]

    def _step(self, steps: Sequence[Segment]) -> torch.Tensor:
        """Logits of rows 0 to the last of `steps` and some more; those of other rows mean nothing."""
        cache = self._cache
        rows = _rounded(max(segment.row for segment in steps) + 1, self._row_sizes)
        positions = _rounded(max(cache.audio_length[segment.row] for segment in steps), self._audio_sizes)
        inputs = [self._idle] * rows
        for segment in steps:
            row = segment.row
            inputs[row] = (segment.tokens[0], cache.text_length[row], cache.audio_length[row])
            cache.text_length[row] += 1
        self._fill(inputs)
        return self._run(rows, positions)

    def _fill(self, inputs: Sequence[tuple[int, int, int]]) -> None:
        # The answers of a step are read before the next one, so the host's copy is free again by then.
        host = self._host[: len(inputs)]
        host.copy_(torch.tensor(inputs))
        self._inputs[: len(inputs)].copy_(host, non_blocking=True)

    def _run(self, rows: int, positions: int) -> torch.Tensor:
        if self._graphs and (rows, positions) not in self._captured:
            self._capture(rows, positions)
        if not self._graphs:
            return self._compute(rows, positions)
        graph, logits = self._captured[rows, positions]
        graph.replay()
        return logits

    def _compute(self, rows: int, positions: int) -> torch.Tensor:
        tokens, places, heard = self._inputs[:rows].unbind(1)
        attend = _FixedAttention(self._cache, rows, positions, places, heard)
        # Idle rows are at a place that has no position of its own.
        at = places.clamp(max=self._scratch - 1)
        return self._decoder.logits(self._decoder.states(tokens, at, attend))

    def _capture(self, rows: int, positions: int) -> None:
        """Records a graph. Running it beforehand only writes what the replay writes again."""
        try:
            side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(_WARM_RUNS):
                    self._compute(rows, positions)
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            # Other threads (another checkpoint, speakers) may allocate meanwhile.
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                logits = self._compute(rows, positions)
        except RuntimeError as error:
            log.warning("cuda_graphs_off", error=type(error).__name__, rows=rows, positions=positions)
            self._graphs = False
            self._captured.clear()
            return
        self._captured[rows, positions] = graph, logits


def _is_step(segment: Segment) -> bool:
    return len(segment.tokens) == 1 and len(segment.wanted) == 1


def _sizes(most: int, smallest: int) -> list[int]:
    """Doubling from `smallest` up to `most`, which is the last."""
    sizes = [max(smallest, 1)]
    while sizes[-1] < most:
        sizes.append(min(2 * sizes[-1], most))
    return sizes


def _rounded(wanted: int, sizes: Sequence[int]) -> int:
    return next(size for size in sizes if size >= wanted)

"""A Whisper checkpoint ready to compute: mel, encoder, decoder with slots."""

from collections.abc import Iterator, Sequence

import torch

from asr.model import MAX_WINDOW_SAMPLES, SAMPLE_RATE_HZ, Pcm
from asr.models.cache import DecoderCache
from asr.models.decoder import Decoder, Segment
from asr.models.dims import POSITION_SAMPLES, Dims
from asr.models.encoder import Encoder, MakeLinear, Weights
from asr.models.graphs import FixedSteps
from asr.models.mel import LogMel, syllables
from asr.models.quant import ComputeType, Linear, Rows, cpu_has_bf16, make_linear
from asr.models.traced import TracedSteps

# The model was trained on 30 s windows and looks at their end to know that the speech is over: without it, it says
# short utterances twice or for ever. Some silence is encoded with the speech, the encoder knows the rest (see there),
# and the last states of a whole window, computed once, are put behind for the decoder to find. Together they do what
# padding to 30 s does, at the cost of the real length.
TRAILING_SILENCE_SAMPLES = SAMPLE_RATE_HZ // 2
SHORTEST_WINDOW_SAMPLES = 5 * SAMPLE_RATE_HZ  # very short words are still said twice in less
# An interim may say one twice: the next takes it back, and costs a third.
SHORTEST_INTERIM_SAMPLES = 3 * SAMPLE_RATE_HZ // 2
TAIL_POSITIONS = 50
# Windows are filled up to the next of these. Each length is compiled for once, at the cost of computing it several times
# and of some 8 MB, so there are not many: close together where most utterances are. Windows of one length share a batch
# on a GPU.
_STEPS_S = (
    (1.5, 2.0, 0.5),
    (3.0, 5.0, 1.0),
    (5.5, 10.0, 0.5),
    (11.0, 14.0, 1.0),
    (16.0, 30.0, 2.0),
)  # first, last, step
WINDOW_SAMPLES = tuple(
    round((first + index * step) * SAMPLE_RATE_HZ)
    for first, last, step in _STEPS_S
    for index in range(round((last - first) / step) + 1)
)
# Audio of one encoder call. On CPU a window alone fills the cores.
_GPU_BATCH_SAMPLES = 960 * SAMPLE_RATE_HZ
_TIMESTAMPS = 1501  # the last tokens of the vocabulary: not written, so not computed


class Whisper:
    """The model of one checkpoint on one device. Not thread-safe: one thread owns it."""

    def __init__(
        self,
        dims: Dims,
        weights: Weights,
        *,
        device: torch.device,
        compute: ComputeType,
        slots: int,
        threads: int,
        alignment_heads: Sequence[tuple[int, int]] = (),
        suppress: Sequence[int] = (),
    ) -> None:
        self.dims, self.device, self.slots, self.compute = dims, device, slots, compute
        self.alignment_heads = tuple(alignment_heads) or dims.default_alignment_heads
        self._threads = threads
        on_cpu = device.type == "cpu"
        kind = torch.float32 if on_cpu else _KINDS[compute]
        attention = kind
        if on_cpu and compute != "fp32" and cpu_has_bf16():
            attention = torch.bfloat16

        def linear(rows: Rows) -> MakeLinear:
            def make(name: str, *, gelu: bool = False) -> Linear:
                weight, bias = weights(f"{name}.weight"), weights(f"{name}.bias")
                kind = compute
                if weight.dim() == 3:  # a convolution [out, in, width], as a product over windows [width, in]
                    weight = weight.permute(0, 2, 1).flatten(1)
                    if compute == "int8" and not cpu_has_bf16():
                        kind = "fp32"  # what it hears is not normalised, and there is little of it
                return make_linear(weight, bias, rows=rows, compute=kind, device=device, gelu=gelu)

            return make

        self._mel = LogMel(dims.n_mels, device)
        self._encoder = Encoder(dims, weights, linear("many"), kind=kind, attention=attention, device=device)
        aligned = {layer for layer, _ in self.alignment_heads}
        self.cache = DecoderCache(
            dims, slots, dims.n_audio_ctx + TAIL_POSITIONS, attention, kind, device, aligned
        )
        self.n_logits = dims.n_vocab - _TIMESTAMPS if dims.n_vocab > _TIMESTAMPS else dims.n_vocab
        # Tokens that are never written get an offset no other reaches: suppression costs nothing per step.
        offset = torch.zeros(self.n_logits)
        offset[[token for token in suppress if 0 <= token < self.n_logits]] = -1e4
        embedding = weights("decoder.embedding")[: self.n_logits]
        project = make_linear(embedding, offset, rows="few", compute=compute, device=device)
        self._decoder = Decoder(
            dims, weights, linear("few"), linear("many"), project, self.cache, kind=kind, device=device
        )

        torch.set_num_threads(threads)
        with torch.inference_mode():
            self._steps = TracedSteps(self._decoder, threads) if on_cpu else FixedSteps(self._decoder)
            self._tail = self._learn_silence()

    @torch.inference_mode()
    def _learn_silence(self) -> torch.Tensor:
        """Teaches the encoder the silence of a whole window that begins with something like speech.

        What it begins with must be voiced and syllabic: behind a click or noise the states are others.

        Returns:
            The last states of the window [TAIL_POSITIONS, state].
        """
        pcm = torch.zeros(1, self.dims.n_audio_ctx * POSITION_SAMPLES)
        voice = syllables(3.0)[: pcm.shape[1]]
        pcm[0, : len(voice)] = voice
        return self._encoder.learn_silence(self._mel(pcm.to(self.device)))[-TAIL_POSITIONS:].clone()

    @torch.inference_mode()
    def encode(self, windows: Sequence[Pcm], interim: Sequence[bool] = ()) -> list[torch.Tensor]:
        """Windows of at most 30 s, [n] float32 each -> states [positions, state] each, in order, the end of a window behind them.

        Windows of the same (rounded) length are computed in one batch.

        Args:
            interim: which of them are read for an interim; default: none.
        """
        torch.set_num_threads(self._threads)
        states: list[torch.Tensor] = [torch.empty(0)] * len(windows)
        for samples, members in self._batches(windows, interim or [False] * len(windows)):
            batch = torch.zeros(len(members), samples, pin_memory=self.device.type == "cuda")
            for item, index in zip(batch, members, strict=True):
                item[: len(windows[index])] = torch.from_numpy(windows[index])
            for index, encoded in zip(
                members, self._encoder(self._mel(batch.to(self.device, non_blocking=True))), strict=True
            ):
                states[index] = torch.cat([encoded, self._tail])
        return states

    def _batches(self, windows: Sequence[Pcm], interim: Sequence[bool]) -> Iterator[tuple[int, list[int]]]:
        """(samples, indices of the windows of that padded length), as many as fit one call."""
        groups: dict[int, list[int]] = {}
        for index, (pcm, soon_replaced) in enumerate(zip(windows, interim, strict=True)):
            shortest = SHORTEST_INTERIM_SAMPLES if soon_replaced else SHORTEST_WINDOW_SAMPLES
            groups.setdefault(self._padded_samples(len(pcm), shortest), []).append(index)
        for samples, members in groups.items():
            many = 1 if self.device.type == "cpu" else max(1, _GPU_BATCH_SAMPLES // samples)
            for first in range(0, len(members), many):
                yield samples, members[first : first + many]

    def _padded_samples(self, samples: int, shortest: int) -> int:
        longest = min(MAX_WINDOW_SAMPLES, self.dims.n_audio_ctx * POSITION_SAMPLES)
        wanted = max(samples + TRAILING_SILENCE_SAMPLES, shortest)
        return min(next((length for length in WINDOW_SAMPLES if length >= wanted), longest), longest)

    @torch.inference_mode()
    def hear(self, row: int, states: torch.Tensor) -> None:
        """Gives a row its audio and empties its text."""
        torch.set_num_threads(self._threads)
        self._decoder.hear(row, states)

    @torch.inference_mode()
    def forward(self, segments: Sequence[Segment]) -> torch.Tensor:
        """Appends tokens to rows -> logits [wanted, n_logits] float32; suppressed tokens lie far below all others."""
        torch.set_num_threads(self._threads)
        return self._steps(segments)

    @torch.inference_mode()
    def prepare(self) -> None:
        """Does what a step would otherwise do when first taken."""
        self._steps.prepare()

    @torch.inference_mode()
    def attention_weights(self, row: int, first: int, last: int, positions: int) -> torch.Tensor:
        """How decoded tokens attended to the audio.

        Args:
            row: whose.
            first: index of the first token in the row.
            last: one past the last.
            positions: encoder positions to look at; the silence behind them is left out.

        Returns:
            [alignment heads, last - first, positions] float32, each row sums to 1.
        """
        torch.set_num_threads(self._threads)
        weights = []
        for layer in sorted({layer for layer, _ in self.alignment_heads}):
            heads = [head for owner, head in self.alignment_heads if owner == layer]
            q = self.cache.queries[layer][row, heads, first:last].float()
            k = self.cache.audio[layer, 0, row, heads, :positions].float()
            weights.append(torch.softmax(q @ k.transpose(1, 2) * q.shape[-1] ** -0.5, dim=-1))
        return torch.cat(weights).cpu()


_KINDS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "int8": torch.float32}

"""A VITS voice of the Piper family: clauses of phoneme ids to sound, in stretches.

Kim et al. 2021, "Conditional Variational Autoencoder with Adversarial Learning for End-to-End Text-to-Speech".
Flow and decoder are local, so both work in windows: the first sound needs only the first part of the latents.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from common.errors import InvalidArgument
from tts.model import Clause, VoiceInfo, WordTime
from tts.models.duration import DurationPredictor
from tts.models.flow import Flow
from tts.models.hifigan import Decoder
from tts.models.text_encoder import TextEncoder
from tts.models.weights import Weights

MAX_PHONEME_FRAMES = 400  # about 4.6 s at 86 frames a second: a bound against runaway durations
FRAME_GRID = 12  # windows of the decoder are multiples of it: a shape met for the first time costs extra
CPU_WINDOW, GPU_WINDOW = 72, 288  # most frames decoded at a time; more no longer fits a processor's caches
FLOW_GRID = 32
FIRST_FLOW, LATER_FLOW = 64, 256  # latents made at a time, beside what is recomputed on both sides
IDS_GRID = 32


@dataclass(slots=True)
class VitsSpeech:
    """One clause between its text stage and its last sample."""

    prior: Tensor  # [frames, channels], a sample of the prior
    speaker: Tensor | None  # [1, gin]
    durations: list[int]  # frames of each phoneme id
    words: list[WordTime]
    latents: Tensor  # [frames, channels], valid up to `ready`
    ready: int = 0
    done: int = 0
    frames: int = field(init=False)

    def __post_init__(self) -> None:
        self.frames = self.prior.shape[0]


@dataclass(frozen=True, slots=True)
class Noise:
    """The random part of one clause, for tests that compare with another engine."""

    duration: Tensor  # [ids, 2] standard normal
    prior: Tensor  # [at least frames, channels] standard normal


class VitsVoice:
    """The weights of one voice and the three stages over them."""

    def __init__(
        self,
        info: VoiceInfo,
        weights: Weights,
        *,
        noise_scale: float,
        length_scale: float,
        noise_w: float,
        device: str,
        fast: torch.dtype,
    ) -> None:
        self.info = info
        self.noise_scale, self.length_scale, self.noise_w = noise_scale, length_scale, noise_w
        self.device = torch.device(device)
        self.encoder = TextEncoder(weights.sub("enc_p"), fast)
        self.durations = DurationPredictor(weights.sub("dp"))
        self.flow = Flow(weights.sub("flow"), fast)
        self.decoder = Decoder(weights.sub("dec"), fast)
        self.speakers = weights.get("emb_g.weight")  # [speakers, gin]
        self.symbols = self.encoder.table.shape[0]
        self.hop_samples = self.decoder.hop
        self.longest = CPU_WINDOW if self.device.type == "cpu" else GPU_WINDOW
        self.batches = (
            self.device.type != "cpu"
        )  # one window fills a CPU, and there each batch size is a new shape

    def check(self, clause: Clause) -> None:
        """Raises InvalidArgument for ids, a speaker or a speed this voice does not have."""
        ids = clause.phoneme_ids
        if not ids or len(ids) > self.info.max_clause_ids:
            raise InvalidArgument(
                f"a clause needs 1 to {self.info.max_clause_ids} phoneme ids, not {len(ids)}"
            )
        if min(ids) < 0 or max(ids) >= self.symbols:
            raise InvalidArgument(f"phoneme ids of this voice are 0 to {self.symbols - 1}")
        if not 0 <= clause.speaker < max(1, self.info.speakers):
            raise InvalidArgument(f"this voice has speakers 0 to {max(1, self.info.speakers) - 1}")
        if not 0.25 <= clause.speed <= 4:
            raise InvalidArgument("speed must be between 0.25 and 4")
        for span in clause.word_spans:
            if not 0 <= span.first_id <= span.last_id < len(ids):
                raise InvalidArgument("a word span lies outside the clause")

    @torch.inference_mode()
    def begin(self, clauses: Sequence[Clause], noises: Sequence[Noise] | None = None) -> list[VitsSpeech]:
        """Text encoder and durations of all clauses in one batch. `noises` replaces what the seeds would draw."""
        lengths = [len(clause.phoneme_ids) for clause in clauses]
        longest = _grid(max(lengths), IDS_GRID)
        ids = torch.tensor([(*c.phoneme_ids, *[0] * (longest - len(c.phoneme_ids))) for c in clauses])
        steps = torch.arange(longest).unsqueeze(0)
        mask = (steps < torch.tensor(lengths).unsqueeze(1)).float().unsqueeze(-1)
        ids, mask = ids.to(self.device), mask.to(self.device)
        generators = [_generator(clause.seed) for clause in clauses]
        if noises is None:
            rhythm = [torch.randn(n, 2, generator=g) for n, g in zip(lengths, generators, strict=True)]
        else:
            rhythm = [noise.duration for noise in noises]
        scales = [self.noise_w if c.noise_w is None else c.noise_w for c in clauses]
        padded = [F.pad(r * s, (0, 0, 0, longest - len(r))) for r, s in zip(rhythm, scales, strict=True)]

        speakers = None
        if self.speakers is not None:
            speakers = self.speakers[[clause.speaker for clause in clauses]].unsqueeze(1)  # [batch, 1, gin]
        hidden, mean, log_deviation = self.encoder(ids, mask)
        log_durations = self.durations(hidden, mask, torch.stack(padded).to(self.device), speakers)
        speed = torch.tensor([[self.length_scale / c.speed] for c in clauses], device=self.device)
        frames = (
            (log_durations.exp() * mask.squeeze(-1) * speed).ceil().clamp_(0, MAX_PHONEME_FRAMES).long().cpu()
        )

        speeches = []
        for row, clause in enumerate(clauses):
            counts = frames[row, : lengths[row]]
            if int(counts.sum()) == 0:
                counts[-1] = 1
            repeats = counts.to(self.device)
            centre = mean[row, : lengths[row]].repeat_interleave(repeats, 0)
            deviation = log_deviation[row, : lengths[row]].exp().repeat_interleave(repeats, 0)
            if noises is None:
                noise = torch.randn(centre.shape, generator=generators[row])
            else:
                noise = noises[row].prior[: len(centre)]
            scale = self.noise_scale if clause.noise_scale is None else clause.noise_scale
            prior = torch.addcmul(centre, noise.to(self.device), deviation, value=scale)
            durations = counts.tolist()
            speaker = None if speakers is None else speakers[row]
            words = self._word_times(clause, durations)
            speeches.append(VitsSpeech(prior, speaker, durations, words, torch.empty_like(prior)))
        return speeches

    def _word_times(self, clause: Clause, durations: list[int]) -> list[WordTime]:
        ends = np.cumsum(durations) * (self.hop_samples / self.info.sample_rate_hz)
        starts = np.concatenate([[0.0], ends[:-1]])
        return [
            WordTime(span.text, float(starts[span.first_id]), float(ends[span.last_id]))
            for span in clause.word_spans
        ]

    @torch.inference_mode()
    def decode(self, speeches: Sequence[VitsSpeech], frames: int) -> list[npt.NDArray[np.float32]]:
        """The next `frames` of each clause, or as many as one window holds."""
        windows = [self._window(speech, frames) for speech in speeches]
        groups: dict[tuple[int, int], list[int]] = {}
        for i, window in enumerate(windows):
            key = (window.count, window.stop - window.start)
            groups.setdefault(key if self.batches else (i, 0), []).append(i)
        out: list[npt.NDArray[np.float32]] = [np.empty(0, np.float32)] * len(speeches)
        for members in groups.values():
            rows = self._decode([speeches[i] for i in members], [windows[i] for i in members])
            for i, row in zip(members, rows, strict=True):
                out[i] = row
        return out

    def _window(self, speech: VitsSpeech, frames: int) -> "_Window":
        """Where the decoder looks for the next sound. Sizes come from a coarse grid, so shapes repeat."""
        reach, length = self.decoder.reach, speech.frames
        wanted = min(frames, self.longest, length - speech.done)
        count = min(length, _grid(wanted, FRAME_GRID))
        first = min(speech.done, length - count)
        width = min(length, count + 2 * reach)
        start = min(max(0, first - reach), length - width)
        return _Window(start, start + width, first - start, count, speech.done - first, wanted)

    def _decode(self, speeches: list[VitsSpeech], windows: list["_Window"]) -> list[npt.NDArray[np.float32]]:
        for speech, window in zip(speeches, windows, strict=True):
            self._flow_until(speech, window.stop)
        latents = [s.latents[w.start : w.stop] for s, w in zip(speeches, windows, strict=True)]
        speaker = None
        if self.speakers is not None:
            speaker = torch.stack([s.speaker for s in speeches if s.speaker is not None])
        z = latents[0].unsqueeze(0) if len(latents) == 1 else torch.stack(latents)
        sound = self.decoder(z, [w.keep for w in windows], windows[0].count, speaker).float().cpu().numpy()
        rows = []
        for row, speech, window in zip(sound, speeches, windows, strict=True):
            start = window.skip * self.hop_samples
            rows.append(row[start : start + window.frames * self.hop_samples])
            speech.done += window.frames
        return rows

    def _flow_until(self, speech: VitsSpeech, frame: int) -> None:
        """Make latents ready up to `frame`: a short window first, for the first sound, then long ones."""
        reach, length = self.flow.reach, speech.frames
        speaker = None if speech.speaker is None else speech.speaker.unsqueeze(0)
        while speech.ready < frame:
            wanted = length - speech.ready
            target = LATER_FLOW if speech.ready or length <= 2 * FIRST_FLOW else FIRST_FLOW
            context = 2 * reach if speech.ready else reach
            width = min(target + context, _grid(wanted + reach, FLOW_GRID), _grid(length, FLOW_GRID))
            if width >= length:
                first, last, mask = 0, length, None
                z = speech.prior
                if width > length:  # fill up with frames that are masked out in every layer
                    z = F.pad(z, (0, 0, 0, width - length))
                    mask = (torch.arange(width, device=z.device) < length).reshape(1, width, 1)
                z = self.flow(z.unsqueeze(0), speaker, mask)[0]
            else:
                first = min(max(0, speech.ready - reach), length - width)
                last = length if first + width == length else first + width - reach
                z = self.flow(speech.prior[first : first + width].unsqueeze(0), speaker)[0]
            speech.latents[speech.ready : last] = z[speech.ready - first : last - first]
            speech.ready = last


@dataclass(frozen=True, slots=True)
class _Window:
    """A stretch of latents to decode: `start` to `stop`, of which `count` frames from `keep` on become exact sound;
    of that, the first `skip` frames have been heard and `frames` are new."""

    start: int
    stop: int
    keep: int
    count: int
    skip: int
    frames: int


def _grid(size: int, step: int) -> int:
    """`size` rounded up to a multiple of `step`."""
    return -(-size // step) * step


def _generator(seed: int | None) -> torch.Generator:
    """Always on the CPU, so a seed sounds the same on every device."""
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    return generator

"""A VITS voice of the Piper family: clauses of phoneme ids to sound, in stretches.

Kim et al. 2021, "Conditional Variational Autoencoder with Adversarial Learning for End-to-End Text-to-Speech".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

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
from tts.models.lanes import Lanes, use_threads
from tts.models.stretches import Stretches, VitsSpeech, grid
from tts.models.text_encoder import TextEncoder
from tts.models.weights import Weights

MAX_PHONEME_FRAMES = 400  # about 4.6 s at 86 frames a second: a bound against runaway durations
IDS_GRID = 32
WARM_IDS = 320  # the text stage of clauses up to here meets no new shape


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
        threads: int = 1,
    ) -> None:
        """`threads` is how many cores of a CPU work side by side, each on its own stretch of sound."""
        self.info = info
        self.lanes = Lanes(threads if device == "cpu" else 1)
        self.text_batch = self.lanes.count if device == "cpu" else None
        self.noise_scale, self.length_scale, self.noise_w = noise_scale, length_scale, noise_w
        self.device = torch.device(device)
        self.encoder = TextEncoder(weights.sub("enc_p"), fast)
        self.durations = DurationPredictor(weights.sub("dp"), fast)
        self.flow = Flow(weights.sub("flow"), fast)
        self.decoder = Decoder(weights.sub("dec"), fast)
        self.speakers = weights.get("emb_g.weight")  # [speakers, gin]
        self.symbols = self.encoder.table.shape[0]
        self.hop_samples = self.decoder.hop
        self.stretches = Stretches(self.flow, self.decoder, self.lanes, self.device)

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

    def begin(self, clauses: Sequence[Clause], noises: Sequence[Noise] | None = None) -> list[VitsSpeech]:
        """Text encoder and durations of all clauses. `noises` replaces what the seeds would draw."""
        self._one_thread()
        if self.stretches.batches or len(clauses) == 1:
            return self._begin(clauses, noises)
        jobs = [
            partial(self._begin, [clause], None if noises is None else [noises[i]])
            for i, clause in enumerate(clauses)
        ]
        return [speech for speeches in self.lanes.run(jobs) for speech in speeches]

    @torch.inference_mode()
    def _begin(self, clauses: Sequence[Clause], noises: Sequence[Noise] | None) -> list[VitsSpeech]:
        lengths = [len(clause.phoneme_ids) for clause in clauses]
        longest = grid(max(lengths), IDS_GRID)
        ids = torch.tensor([(*c.phoneme_ids, *[0] * (longest - len(c.phoneme_ids))) for c in clauses])
        ids = ids.to(self.device)
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
        hidden, mean, log_deviation = self.encoder(ids, lengths)
        log_durations = self.durations(hidden, lengths, torch.stack(padded).to(self.device), speakers)
        speed = torch.tensor([[self.length_scale / c.speed] for c in clauses], device=self.device)
        frames = (log_durations.exp() * speed).ceil().clamp_(0, MAX_PHONEME_FRAMES).long().cpu()

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

    def decode(self, speeches: Sequence[VitsSpeech], frames: int) -> list[npt.NDArray[np.float32]]:
        """The next `frames` of each clause, or what is left of it."""
        self._one_thread()
        return self.stretches.decode(speeches, frames)

    def warm_up(self) -> None:
        """Meets every shape that ordinary clauses have: the first time costs ten times as much."""
        self._one_thread()
        if self.device.type != "cpu":
            return
        lengths = range(IDS_GRID, WARM_IDS + 1, IDS_GRID)
        texts = [partial(self.begin, [Clause((0,) * length, seed=0)]) for length in lengths]
        jobs: list[Callable[[], object]] = [*texts, *self.stretches.warm_ups()]
        self.lanes.run(jobs)

    def _one_thread(self) -> None:
        """This voice spreads its work over cores itself."""
        if self.device.type == "cpu":
            use_threads(1)


def _generator(seed: int | None) -> torch.Generator:
    """Always on the CPU, so a seed sounds the same on every device."""
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    return generator

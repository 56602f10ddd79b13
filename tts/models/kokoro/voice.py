"""Kokoro as the engine uses it: phoneme ids and a table of styles to sound."""

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from common.errors import InvalidArgument
from tts.model import Clause, VoiceInfo, WordTime
from tts.models.kokoro.decoder import SAMPLES_PER_FRAME, Decoder, noise_shape
from tts.models.kokoro.prosody import Prosody
from tts.models.kokoro.text import Albert, TextEncoder
from tts.models.lanes import use_threads
from tts.models.weights import Weights

STYLE = 128  # values of a style for the decoder; as many follow for the prosody
EDGES = 2  # the start and end sign of a clause
STEP_S = 0.12  # of work done for a clause before other clauses get their turn
PATIENCE_S = 1.0


@dataclass(slots=True)
class KokoroSpeech:
    """One clause: its sound is whole or not there at all, because every layer normalises over all of it."""

    frames: int
    words: list[WordTime]
    work: Generator[None, None, Tensor]
    sound: npt.NDArray[np.float32] | None = None  # [frames * SAMPLES_PER_FRAME] once `work` has ended
    done: int = field(default=0)


class KokoroNet:
    """The weights, shared by all voices."""

    def __init__(
        self, weights: Weights, fast: torch.dtype, *, layers: int = 12, heads: int = 12, noise: float = 1.0
    ) -> None:
        """`layers` and `heads` are those of the ALBERT; `noise` scales the noise of the excitation."""
        self.albert = Albert(weights.sub("bert"), fast, layers, heads)
        projection = weights.sub("bert_encoder")
        self.narrow, self.narrow_bias = projection["weight"], projection["bias"]
        self.text = TextEncoder(weights.sub("text_encoder"))
        # Rounded durations and pitch do not forgive bf16, and are little work.
        self.prosody = Prosody(weights.sub("predictor"), torch.float32)
        self.decoder = Decoder(weights.sub("decoder"), fast)
        self.noise = noise
        self.symbols, self.places = len(self.text.table), len(self.albert.places)
        self.device = self.narrow.device
        self.threads = torch.get_num_threads()

    def durations(self, ids: Sequence[int], style: Tensor, speed: float) -> tuple[Tensor, Tensor]:
        """Frames of each id [n] and the features of each [n, features]; `style` [2 * STYLE]."""
        numbers = torch.tensor(ids, device=self.device)
        hidden = F.linear(self.albert(numbers), self.narrow, self.narrow_bias)
        return self.prosody.durations(hidden, style[STYLE:], speed)

    @torch.inference_mode()
    def sound(
        self, ids: Sequence[int], frames: Tensor, features: Tensor, style: Tensor, noise: Tensor | None
    ) -> Generator[None, None, Tensor]:
        """The rest of the work, in pieces; returns [samples]."""
        pitch, energy = self.prosody.contours(features.repeat_interleave(frames, 0), style[STYLE:])
        yield
        text = self.text(torch.tensor(ids, device=self.device)).repeat_interleave(frames, 0)
        yield
        samples: Tensor = yield from self.decoder(text, pitch, energy, style[:STYLE], noise)
        return samples


class KokoroVoice:
    """One speaker."""

    hop_samples = SAMPLES_PER_FRAME
    patience_s = PATIENCE_S

    def __init__(self, info: VoiceInfo, net: KokoroNet, styles: Tensor) -> None:
        """`styles` [longest text, 2 * STYLE]: a row for each number of phonemes, from one on."""
        if styles.ndim != 2 or styles.shape[1] != 2 * STYLE:
            raise ValueError(f"the styles of voice {info.name} are not rows of {2 * STYLE}")
        self.info, self.net = info, net
        self.styles = styles.float().to(net.device)

    @property
    def kin(self) -> object:
        """What voices that are warm together have in common."""
        return self.net

    def check(self, clause: Clause) -> None:
        """Raises InvalidArgument for ids, a speaker or a speed this voice does not have."""
        ids = clause.phoneme_ids
        if not EDGES < len(ids) <= self.info.max_clause_ids:
            raise InvalidArgument(f"a clause needs {EDGES + 1} to {self.info.max_clause_ids} phoneme ids")
        if min(ids) < 0 or max(ids) >= self.net.symbols:
            raise InvalidArgument(f"phoneme ids of this voice are 0 to {self.net.symbols - 1}")
        if clause.speaker != 0:
            raise InvalidArgument("this voice has speaker 0 alone")
        if not 0.25 <= clause.speed <= 4:
            raise InvalidArgument("speed must be between 0.25 and 4")
        for span in clause.word_spans:
            if not 0 <= span.first_id <= span.last_id < len(ids):
                raise InvalidArgument("a word span lies outside the clause")

    @torch.inference_mode()
    def begin(self, clauses: Sequence[Clause]) -> list[KokoroSpeech]:
        """Durations of each clause; the sound is left to `decode`."""
        use_threads(self.net.threads)
        return [self._begin(clause) for clause in clauses]

    def _begin(self, clause: Clause) -> KokoroSpeech:
        ids = clause.phoneme_ids
        style = self.styles[min(len(ids) - EDGES, len(self.styles)) - 1]
        frames, features = self.net.durations(ids, style, clause.speed)
        total = int(frames.sum())
        work = self.net.sound(ids, frames, features, style, self._noise(clause, total))
        return KokoroSpeech(total, _word_times(clause, frames.tolist()), work)

    def _noise(self, clause: Clause, frames: int) -> Tensor | None:
        scale = self.net.noise if clause.noise_scale is None else clause.noise_scale
        if not scale:
            return None
        generator = torch.Generator()
        if clause.seed is None:
            generator.seed()
        else:
            generator.manual_seed(clause.seed)
        return (torch.randn(noise_shape(frames), generator=generator) * scale).to(self.net.device)

    def decode(self, speeches: Sequence[KokoroSpeech], frames: int) -> list[npt.NDArray[np.float32]]:
        """The next `frames` of each clause whose sound is ready, nothing of the others; works `STEP_S` on those."""
        use_threads(self.net.threads)
        until = time.perf_counter() + STEP_S
        return [self._decode(speech, frames, until) for speech in speeches]

    def _decode(self, speech: KokoroSpeech, frames: int, until: float) -> npt.NDArray[np.float32]:
        while speech.sound is None:
            try:
                next(speech.work)
            except StopIteration as end:
                speech.sound = end.value.clamp(-1, 1).cpu().numpy()
                break
            if time.perf_counter() >= until:
                return np.empty(0, np.float32)
        stop = min(speech.frames, speech.done + frames)
        part = speech.sound[speech.done * SAMPLES_PER_FRAME : stop * SAMPLES_PER_FRAME]
        speech.done = stop
        return part


def _word_times(clause: Clause, frames: list[int]) -> list[WordTime]:
    ends = np.cumsum(frames) * (SAMPLES_PER_FRAME / 24_000)
    starts = np.concatenate([[0.0], ends[:-1]])
    return [WordTime(s.text, float(starts[s.first_id]), float(ends[s.last_id])) for s in clause.word_spans]

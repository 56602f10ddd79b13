"""Where speech begins, pauses and ends: a state machine over speech probabilities, no I/O, no clock but the audio."""

from dataclasses import dataclass
from enum import Enum, auto

from asr.voice.vad import CHUNK_SAMPLES

SAMPLES_PER_MS = 16

# Hysteresis as in Silero's own iterator: speech goes on until the probability falls this far below the threshold.
HYSTERESIS = 0.15
MIN_THRESHOLD = 0.01
# Voiced chunks that make a beginning: one alone is a click.
START_CHUNKS = 2
# Unvoiced chunks that make a candidate beginning void.
VOID_CHUNKS = 3
# A stop consonant is silent for up to about 100 ms, so nothing shorter ends speech.
MIN_SILENCE_MS = 96
# Silence after which speech counts as paused.
PAUSE_MS = 200


class Kind(Enum):
    """What happened to the speech."""

    STARTED = auto()
    PAUSED = auto()  # silence for PAUSE_MS
    ENDPOINT = auto()  # silence for endpointing_ms
    UTTERANCE_END = auto()  # silence for utterance_end_ms


@dataclass(frozen=True, slots=True)
class Signal:
    """`at` is where speech began or stopped, in samples from the first one of the stream."""

    kind: Kind
    at: int


@dataclass(frozen=True, slots=True)
class EndpointConfig:
    """Knobs of one stream. Times in ms; silence is measured from the end of speech."""

    threshold: float = 0.5
    endpointing_ms: int = 600
    utterance_end_ms: int | None = None

    def __post_init__(self) -> None:
        assert 0 < self.threshold < 1
        assert self.endpointing_ms > 0


class Endpointer:
    """Turns one probability per chunk into signals.

    A pause that goes on becomes an endpoint, then the end of the utterance; each is signalled once. Speech after a
    pause is STARTED again.
    """

    def __init__(self, config: EndpointConfig) -> None:
        self._config = config
        self._off = max(config.threshold - HYSTERESIS, MIN_THRESHOLD)
        endpoint_ms = max(config.endpointing_ms, MIN_SILENCE_MS)
        stages = [(min(PAUSE_MS, endpoint_ms), Kind.PAUSED), (endpoint_ms, Kind.ENDPOINT)]
        if config.utterance_end_ms is not None:
            stages.append((max(config.utterance_end_ms, MIN_SILENCE_MS), Kind.UTTERANCE_END))
        self._stages = sorted(stages, key=lambda stage: (stage[0], stage[1].value))
        self._position = 0
        self.reset()

    def reset(self) -> None:
        """Forgets the speech so far (after a flush); positions go on."""
        self.speaking = False
        self._candidate: int | None = None  # where speech may have begun
        self._voiced = self._void = 0
        self._quiet_from: int | None = None  # where speech may have stopped
        self._stage = len(self._stages)  # next entry of _stages; past the end while nothing is due

    @property
    def position(self) -> int:
        """Samples seen."""
        return self._position

    def push(self, probability: float) -> list[Signal]:
        """Takes the next chunk's speech probability."""
        start = self._position
        self._position += CHUNK_SAMPLES
        if self.speaking:
            if probability >= self._config.threshold:
                self._quiet_from = None
            elif probability < self._off and self._quiet_from is None:
                self._quiet_from = start
        elif self._begins(probability, start):
            assert self._candidate is not None
            at, self._candidate = self._candidate, None
            self.speaking, self._quiet_from, self._stage = True, None, 0
            return [Signal(Kind.STARTED, at)]
        return self._silence()

    def _begins(self, probability: float, start: int) -> bool:
        if probability >= self._config.threshold:
            if self._candidate is None:
                self._candidate, self._voiced = start, 0
            self._voiced += 1
            self._void = 0
            return self._voiced >= START_CHUNKS
        self._void += 1
        if self._void >= VOID_CHUNKS:
            self._candidate = None
        return False

    def _silence(self) -> list[Signal]:
        if self._quiet_from is None:
            return []
        signals = []
        quiet_ms = (self._position - self._quiet_from) // SAMPLES_PER_MS
        while self._stage < len(self._stages) and quiet_ms >= self._stages[self._stage][0]:
            kind = self._stages[self._stage][1]
            self.speaking = False
            self._stage += 1
            signals.append(Signal(kind, self._quiet_from))
        return signals

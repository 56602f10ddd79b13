"""Speech to windows short enough for one voice. Pure; audio comes in pieces.

A region of speech ends at a pause, and no window lies across one: where nobody speaks, somebody else may begin.
"""

from dataclasses import dataclass

from asr.model import SAMPLE_RATE_HZ, Pcm
from asr.voice.buffer import AudioBuffer
from asr.voice.endpoint import PAUSE_MS, EndpointConfig, Endpointer, Kind
from asr.voice.vad import CHUNK_SAMPLES, Floats

WINDOW_SAMPLES = 25_600  # 1.6 s, what the encoder was trained on
HOP_SAMPLES = 12_800  # half of it; half of that finds the same speakers at twice the cost
SHORTEST_SAMPLES = 6_400  # less says nothing about a voice
RELIABLE_SAMPLES = SAMPLE_RATE_HZ  # shorter windows are compared with voices but make none
# The rest at the end of a region gets a window of its own from here on.
REST_SAMPLES = 3_200


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """Speech at [start, end), in samples of the stream. Windows of one region have no pause between them."""

    start: int
    end: int
    region: int
    pcm: Pcm  # [end - start]

    @property
    def reliable(self) -> bool:
        """Long enough to tell a new voice by."""
        return self.end - self.start >= RELIABLE_SAMPLES


class SpeechWindows:
    """Takes chunks with their speech probabilities, gives windows as soon as they are full or speech pauses."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._endpointer = Endpointer(EndpointConfig(threshold, PAUSE_MS))
        self._buffer = AudioBuffer()
        self._region = 0
        self._start: int | None = None  # of the region that is open
        self._next = 0  # start of its next full window
        self._covered = 0  # end of its last window
        self._voiced = 0  # end of the last chunk that is speech
        self._ready: list[Window] = []

    def push(self, samples: Pcm, probabilities: Floats) -> list[Window]:
        """The next chunks: float32 [n * 512] and their [n] speech probabilities."""
        for i, probability in enumerate(probabilities):
            self._buffer.append(
                samples[i * CHUNK_SAMPLES : (i + 1) * CHUNK_SAMPLES], probabilities[i : i + 1]
            )
            for signal in self._endpointer.push(float(probability)):
                if signal.kind is Kind.STARTED:
                    self._start = self._next = self._covered = signal.at
                elif signal.kind is Kind.ENDPOINT:
                    self._close(signal.at)
            # Only up to a voiced chunk is it certain that no pause has begun.
            if self._start is not None and probability >= self._threshold:
                self._fill(self._buffer.end)
            self._buffer.drop_before(self._needed())
        return self._take()

    def close(self) -> list[Window]:
        """The region that is open ends here; audio may follow."""
        if self._start is not None:
            self._close(self._buffer.end)
        self._endpointer.reset()
        return self._take()

    def covers(self, position: int) -> bool:
        """Speech before `position` has all its windows."""
        return self._start is None or self._start >= position or self._covered >= position

    def _fill(self, end: int) -> None:
        while self._next + WINDOW_SAMPLES <= end:
            self._emit(self._next, self._next + WINDOW_SAMPLES)
            self._next += HOP_SAMPLES

    def _close(self, end: int) -> None:
        assert self._start is not None
        self._fill(end)
        if end - self._covered >= (REST_SAMPLES if self._covered > self._start else SHORTEST_SAMPLES):
            self._emit(max(self._start, end - WINDOW_SAMPLES), end)
        self._start = None
        self._region += 1

    def _emit(self, start: int, end: int) -> None:
        self._ready.append(Window(start, end, self._region, self._buffer.slice(start, end)))
        self._covered = end

    def _needed(self) -> int:
        """What may still go into a window: a region that begins is noticed a few chunks late."""
        if self._start is None:
            return max(self._buffer.end - 8 * CHUNK_SAMPLES, 0)
        return max(self._start, self._covered - WINDOW_SAMPLES)

    def _take(self) -> list[Window]:
        ready, self._ready = self._ready, []
        return ready

"""Speakers of one channel, of a recording or of a live stream: audio in, labelled words out."""

import asyncio

import numpy as np

from asr.diarize.clustering import Floats, tell_apart
from asr.diarize.labels import Names, label, to_ms, turns
from asr.diarize.online import OnlineVoices, regroup
from asr.diarize.windows import SpeechWindows, Window
from asr.diarize.worker import Voices
from asr.model import SAMPLE_RATE_HZ, Pcm
from asr.transcript.events import Transcript

SAMPLES_PER_MS = SAMPLE_RATE_HZ // 1000
NO_AUDIO: Pcm = np.empty(0, np.float32)
# Live: windows (0.8 s each) that may wait for their embedding; then no more audio is taken.
MAX_WAITING = 64


class RecordingSpeakers:
    """Batch: windows are embedded while audio comes, voices told apart when all of it is there.

    Memory: 1 KiB for each 0.8 s of speech, 9 MiB for two hours; the audio is let go once embedded.
    """

    def __init__(self, voices: Voices, threshold: float, num_speakers: int, offset_ms: int) -> None:
        self._voices, self._num_speakers, self._offset_ms = voices, num_speakers, offset_ms
        self._cutter = SpeechWindows(threshold)
        self._windows: list[Window] = []  # without their audio
        self._embedded: list[Floats] = []
        self._task: asyncio.Task[None] | None = None

    async def push(self, samples: Pcm, probabilities: Floats) -> None:
        """The next chunks. Waits for the windows of the push before, not for these."""
        await self._take(self._cutter.push(samples, probabilities))

    async def label(self, transcripts: list[Transcript]) -> list[Transcript]:
        """The finals of the channel with speakers, after the last audio.

        Raises:
            Unavailable: the encoder failed.
        """
        await self._take(self._cutter.close())
        await self._settled()
        voices: list[int] = []
        if self._windows:
            reliable = [window.reliable for window in self._windows]
            embeddings = np.concatenate(self._embedded)
            voices = await asyncio.to_thread(tell_apart, embeddings, reliable, self._num_speakers)
        spoken = to_ms(turns(self._windows, voices), SAMPLES_PER_MS, self._offset_ms)
        names = Names()
        return [
            label(transcript, spoken, names) for transcript in sorted(transcripts, key=lambda t: t.start_ms)
        ]

    def cancel(self) -> None:
        """Nobody will ask for labels."""
        _drop(self._task)

    async def _take(self, windows: list[Window]) -> None:
        if windows:
            await self._settled()
            self._windows += [Window(w.start, w.end, w.region, NO_AUDIO) for w in windows]
            self._task = asyncio.create_task(self._embed(windows), name="voices")

    async def _embed(self, windows: list[Window]) -> None:
        self._embedded.append(await self._voices.embed([window.pcm for window in windows], live=False))

    async def _settled(self) -> None:
        if self._task is not None:
            await self._task


class LiveSpeakers:
    """Streaming: voices are told apart anew for each final, which keeps the speakers it went out with."""

    def __init__(self, voices: Voices, threshold: float, num_speakers: int, offset_ms: int) -> None:
        self._voices, self._offset_ms = voices, offset_ms
        self._cutter = SpeechWindows(threshold)
        self._online = OnlineVoices(num_speakers)
        self._names = Names()
        self._waiting: list[Window] = []
        self._task: asyncio.Task[None] | None = None

    async def push(self, samples: Pcm, probabilities: Floats) -> None:
        """The next chunks. Waits only when very much has to be embedded."""
        self._take(self._cutter.push(samples, probabilities))
        if len(self._waiting) > MAX_WAITING:
            await self._settled()

    def close(self) -> None:
        """A flush or the end of the audio: what was said so far is to have its labels."""
        self._take(self._cutter.close())

    async def label(self, transcript: Transcript) -> Transcript:
        """A final with speakers. Call it in the order of the audio.

        Raises:
            Unavailable: the encoder failed.
        """
        end = (transcript.end_ms - self._offset_ms) * SAMPLES_PER_MS
        if not self._cutter.covers(end):
            self.close()
        await self._settled()
        if self._online.fresh:
            self._online.take(await asyncio.to_thread(regroup, *self._online.look()))
        heard = [one for one in self._online.heard if one.voice >= 0]
        spoken = turns([one.window for one in heard], [one.voice for one in heard])
        for one in heard:
            one.said = one.said or one.window.start < end
        return label(transcript, to_ms(spoken, SAMPLES_PER_MS, self._offset_ms), self._names)

    def cancel(self) -> None:
        """Nobody will ask for labels."""
        _drop(self._task)

    def _take(self, windows: list[Window]) -> None:
        self._waiting += windows
        if self._waiting and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._embed(), name="voices")

    async def _embed(self) -> None:
        while self._waiting:
            windows, self._waiting = self._waiting, []
            embedded = await self._voices.embed([window.pcm for window in windows], live=True)
            for window, embedding in zip(windows, embedded, strict=True):
                self._online.hear(Window(window.start, window.end, window.region, NO_AUDIO), embedding)

    async def _settled(self) -> None:
        if self._task is not None:
            await self._task


def _drop(task: asyncio.Task[None] | None) -> None:
    if task is not None and not task.cancel() and not task.cancelled():
        task.exception()  # seen: the call has failed for another reason

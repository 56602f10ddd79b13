"""Plays scripted audio through a StreamPolicy in steps of audio time, with decodes that take scripted time."""

from dataclasses import replace

import numpy as np

from asr.live.policy import StreamPolicy
from asr.live.tuning import StreamOptions, Tuning
from asr.live.utterance import Job
from asr.model import DecodeRequest, Pcm
from asr.transcript.events import Event, Transcript
from asr.voice.vad import CHUNK_SAMPLES
from tests.fakes.recogniser import FakeRecogniser, Spoken, audio

TEMPLATE = DecodeRequest(pcm=np.empty(0, np.float32), language="en", word_times=True)
CHUNK_S = CHUNK_SAMPLES / 16_000


class Driver:
    """Chunk by chunk: the policy, a fake recogniser, and a clock that is the audio's."""

    def __init__(
        self,
        words: list[Spoken],
        options: StreamOptions | None = None,
        *,
        tuning: Tuning | None = None,
        decode_s: float = 0.05,
        recogniser: FakeRecogniser | None = None,
    ) -> None:
        self.recogniser = recogniser or FakeRecogniser(words)
        self.options = options or StreamOptions(TEMPLATE, interim_results=True)
        self.policy = StreamPolicy(self.options, self.recogniser.decode_tokens, tuning)
        self.decode_s = decode_s
        self.now_s = 0.0
        self.events: list[tuple[float, Event]] = []
        self.jobs: list[Job] = []
        self._due: tuple[float, Job] | None = None
        self._rest: Pcm = np.empty(0, np.float32)

    def play(self, pcm: Pcm) -> "Driver":
        """The next audio, in real time."""
        pcm = np.concatenate((self._rest, pcm))
        whole = len(pcm) - len(pcm) % CHUNK_SAMPLES
        self._rest = pcm[whole:]
        for start in range(0, whole, CHUNK_SAMPLES):
            chunk = pcm[start : start + CHUNK_SAMPLES]
            voiced = float(np.mean(np.abs(chunk) > 0) > 0.3)
            self.policy.push(chunk, np.array([0.95 if voiced else 0.02], np.float32))
            self.now_s += CHUNK_S
            self.turn()
        return self

    def say(self, words: list[Spoken], total_ms: int | None = None) -> "Driver":
        return self.play(audio(words, total_ms=total_ms))

    def turn(self) -> None:
        """Whatever is due at this moment."""
        while True:
            if self._due is not None and self.policy.superseded:
                self._due = None
                self.policy.abandon()
            if self._due is not None and self._due[0] <= self.now_s:
                job, self._due = self._due[1], None
                self.policy.on_result(self.recogniser.read(job.request), self.now_s)
            self.events += [(self.now_s, event) for event in self.policy.events()]
            job_or_none = self.policy.next_job(self.now_s) if self._due is None else None
            if job_or_none is None:
                return
            self.jobs.append(job_or_none)
            self._due = (self.now_s + self.decode_s, job_or_none)

    def flush(self) -> "Driver":
        self.policy.flush(self._rest)
        self.turn()
        return self

    def finish(self) -> "Driver":
        """No more audio; lets time pass until everything is said."""
        self.policy.finish(self._rest)
        return self.settle()

    def settle(self) -> "Driver":
        self.turn()
        for _ in range(1000):
            if self._due is None and self.policy.done:
                return self
            self.now_s = self._due[0] if self._due else self.now_s + CHUNK_S
            self.turn()
        raise AssertionError("the policy does not come to an end")

    @property
    def transcripts(self) -> list[Transcript]:
        return [event for _, event in self.events if isinstance(event, Transcript)]

    @property
    def finals(self) -> list[Transcript]:
        return [transcript for transcript in self.transcripts if transcript.is_final]

    @property
    def interims(self) -> list[Transcript]:
        return [transcript for transcript in self.transcripts if not transcript.is_final]

    @property
    def text(self) -> str:
        return " ".join(final.text for final in self.finals if final.text)


def options(**changes: object) -> StreamOptions:
    """Options with interims and word times, changed."""
    return replace(StreamOptions(TEMPLATE, interim_results=True), **changes)  # type: ignore[arg-type]

"""The policy of one live channel: what to decode when, and what to say about it. No I/O; the clock is passed in.

Audio comes in with its speech probabilities. While somebody speaks, the open window is decoded again and again with
the committed words as a forced prefix; a pause starts the final decode at once, so that its text is there when the
silence has lasted long enough. A window that grows long is cut at a settled word, which bounds the work per second.
"""

from collections import deque
from dataclasses import replace

import numpy as np

from asr.live.agreement import TextOf
from asr.live.context import Context, without_lead
from asr.live.cut import best_cut, quietest, settled_words
from asr.live.tuning import StreamOptions, Tuning
from asr.live.turns import Urgency
from asr.live.utterance import Aim, Decoded, Job, Utterance, make_request
from asr.model import SAMPLE_RATE_HZ, DecodeResult, Pcm
from asr.recording.language import LanguageGuess
from asr.transcript.events import Event, SpeechEnded, SpeechStarted, Tally, Transcript, UtteranceEnd
from asr.transcript.guard import Heard, plausible, stopped_early
from asr.transcript.transcripts import confidence, finals, only_committed
from asr.voice.buffer import AudioBuffer
from asr.voice.endpoint import EndpointConfig, Endpointer, Kind, Signal
from asr.voice.vad import Floats

SAMPLES_PER_MS = SAMPLE_RATE_HZ // 1000


class StreamPolicy:
    """Sans-I/O. `push`, `flush` and `finish` take audio, `next_job` gives work, `on_result` takes its answer,
    `events` gives news. One job is in flight at a time; when `superseded` turns true, drop it with `abandon`.
    """

    def __init__(self, options: StreamOptions, text_of: TextOf, tuning: Tuning | None = None) -> None:
        self.options, self.tuning = options, tuning or Tuning()
        self.language = options.template.language
        self.tally = Tally()
        self._text_of = text_of
        self._guess = LanguageGuess(self.tuning)
        self._buffer = AudioBuffer()
        self._context = Context(self.tuning, text_of)
        self._endpointer = Endpointer(
            EndpointConfig(
                options.vad_threshold,
                options.endpointing_ms or self.tuning.silent_close_ms,
                options.utterance_end_ms,
            )
        )
        self._open: Utterance | None = None
        # Events wait behind utterances whose final is still being decoded.
        self._queue: deque[Event | Utterance] = deque()
        self._job: Job | None = None
        self._floor = 0  # no window begins before this sample: it was heard already
        self._last_word_end_ms: int | None = None  # of finals since the last UtteranceEnd

    # --- audio

    def push(self, samples: Pcm, probabilities: Floats) -> None:
        """The next chunks: float32 [n * 512] and their [n] speech probabilities."""
        self._buffer.append(samples, probabilities)
        for probability in probabilities:
            for signal in self._endpointer.push(float(probability)):
                self._on_signal(signal)
        self._forget()

    def flush(self, tail: Pcm | None = None) -> None:
        """Closes what was heard so far with a final marked from_flush, an empty one if nothing was.

        Args:
            tail: samples after the last whole chunk; they come again at the head of the next one.
        """
        self._end_of_audio(tail)
        waiting = self._utterances()
        if waiting and not waiting[-1].from_flush:
            waiting[-1].from_flush = True
        else:
            now_ms = self._ms(self._floor)
            self._queue.append(
                Transcript("", now_ms, now_ms, is_final=True, from_flush=True, language=self.language)
            )

    def finish(self, tail: Pcm | None = None) -> None:
        """No audio will follow: closes what was heard so far."""
        self._end_of_audio(tail)

    @property
    def done(self) -> bool:
        """Nothing is waiting to be decoded or said."""
        return self._open is None and not self._queue

    @property
    def backlog_ms(self) -> int:
        """Audio kept because its text is not settled."""
        oldest = next(iter(self._utterances()), self._open)
        return 0 if oldest is None else (self._buffer.end - oldest.start) // SAMPLES_PER_MS

    # --- work

    def urgency(self, now_s: float) -> Urgency | None:
        """How urgent `next_job` would be; None while it has nothing to do."""
        due = self._due(now_s)
        if due is None or due[1] is not Aim.INTERIM:
            return due and (Urgency.PAUSED if due[1] is Aim.FINAL and not due[0].closed else Urgency.CLOSING)
        return Urgency.FIRST if self._opening(due[0]) else Urgency.LATER

    def next_job(self, now_s: float) -> Job | None:
        """The decode to start now, if any."""
        due = self._due(now_s)
        self._job = self._make_job(*due, now_s) if due else self._job
        return self._job if due else None

    @property
    def superseded(self) -> bool:
        """The job in flight cannot be the final of its utterance, which has ended: do not wait for it."""
        job = self._job
        if job is None or job.utterance.end is None or self._too_long(job.utterance):
            return False
        return job.aim is not Aim.FINAL or job.end < job.utterance.end

    def abandon(self) -> None:
        """Forgets the job in flight; its work is asked for again when it is still needed."""
        self._job = None

    def on_result(self, result: DecodeResult, now_s: float) -> None:
        """The answer to the job in flight."""
        job, self._job = self._job, None
        assert job is not None
        utterance = job.utterance
        self.tally.compute_ms += result.compute_ms
        utterance.heard = job.end
        took_s = now_s - job.begun_s
        rest_s = max(self.tuning.interim_ms / 1000, took_s * (1 + self.tuning.load_factor))
        utterance.interim_due_s = job.begun_s + rest_s
        if job.lead is not None:
            result = without_lead(result, job.lead, job.start, self._text_of)
        heard = self._heard(job)
        believed = plausible(result, heard)
        if job.aim is Aim.FINAL and not utterance.cautious and (job.lead or utterance.committed):
            # The model took the earlier text, or a pause, for the end, or lost the thread without what it had.
            lost = utterance.committed and not believed
            utterance.cautious = bool(lost or not result.text or stopped_early(result, heard))
            if utterance.cautious:
                return
        self._settle_language(job, result)
        if not believed:
            result = only_committed(result, utterance.committed, self._text_of)
        if job.aim is Aim.FINAL:
            utterance.last = Decoded(job, result)
            if utterance.complete:
                self._complete(utterance)
                return
        if tuple(result.tokens[: len(utterance.committed)]) != utterance.committed:
            return  # a final may say it otherwise, if it comes to that; an interim may not
        self._agree(job, result)
        if job.aim is Aim.CUT:
            self._cut(job, result)
        elif self.options.interim_results:
            self._show(job, result)

    def events(self) -> list[Event]:
        """What there is to say, in the order of the audio."""
        ready: list[Event] = []
        while self._queue and not isinstance(self._queue[0], Utterance):
            ready.append(self._queue.popleft())  # type: ignore[arg-type]  # narrowed by the line above
        return [event for event in map(self._said, ready) if event is not None]

    # --- speech begins, pauses, ends

    def _on_signal(self, signal: Signal) -> None:
        utterance = self._open
        if signal.kind is Kind.STARTED:
            if utterance is None:
                start = max(signal.at - self.tuning.preroll_ms * SAMPLES_PER_MS, self._floor)
                self._open = Utterance(start, speech_start=max(signal.at, start))
            else:
                utterance.paused_at = utterance.last = None
            if self.options.vad_events:
                self._queue.append(SpeechStarted(self._ms(signal.at)))
        elif signal.kind is Kind.PAUSED:
            if utterance is not None:
                utterance.paused_at = max(signal.at, utterance.start)
            if self.options.vad_events:
                self._queue.append(SpeechEnded(self._ms(signal.at)))
        else:
            if utterance is not None:
                utterance.paused_at = max(signal.at, utterance.start)
                utterance.speech_final = self.options.endpointing_ms > 0 or signal.kind is Kind.UTTERANCE_END
                self._close(utterance, self._speech_end(utterance))
            if signal.kind is Kind.UTTERANCE_END:
                self._queue.append(UtteranceEnd(self._ms(signal.at)))

    def _end_of_audio(self, tail: Pcm | None) -> None:
        """Closes the open utterance where the audio is now; what comes next is a new one."""
        tail = np.empty(0, np.float32) if tail is None else tail
        end = self._buffer.end + len(tail)
        if self._open is not None:
            self._open.tail = tail
            self._close(self._open, end if self._open.paused_at is None else self._speech_end(self._open))
        self._floor = end
        self._endpointer.reset()

    def _close(self, utterance: Utterance, end: int) -> None:
        utterance.end = self._floor = end
        self._guess.closed((end - utterance.speech_start) // SAMPLES_PER_MS)
        self._open = None
        self._queue.append(utterance)
        if utterance.complete:
            self._complete(utterance)

    # --- what to decode

    def _due(self, now_s: float) -> tuple[Utterance, Aim] | None:
        utterance = next(iter(self._utterances()), self._open)
        aim = None if self._job or utterance is None else self._aim(utterance, now_s)
        return (utterance, aim) if aim and utterance else None

    def _aim(self, utterance: Utterance, now_s: float) -> Aim | None:
        if utterance.closed:
            return Aim.CUT if self._too_long(utterance) else Aim.FINAL
        end = self._speech_end(utterance)
        if self._too_long(utterance):
            return Aim.CUT
        if utterance.paused_at is not None:
            return None if utterance.last and utterance.last.job.end >= end else Aim.FINAL
        tuning, new_ms = self.tuning, (end - utterance.heard) // SAMPLES_PER_MS
        if self._words(utterance.committed) >= self.options.max_words > 0:
            return Aim.CUT
        if (end - utterance.start) // SAMPLES_PER_MS >= tuning.cut_ms and end >= utterance.cut_after:
            return Aim.CUT
        wanted = self.options.interim_results or self.options.max_words
        spoken_ms = (end - utterance.speech_start) // SAMPLES_PER_MS
        if wanted and new_ms >= tuning.interim_ms and spoken_ms >= tuning.first_interim_ms:
            return Aim.INTERIM if now_s >= utterance.interim_due_s or self._opening(utterance) else None
        return None

    def _opening(self, utterance: Utterance) -> bool:
        """Whether speech has just begun and nothing was shown of it: that cannot wait. Sound without text can."""
        spoken_ms = (self._speech_end(utterance) - utterance.speech_start) // SAMPLES_PER_MS
        return not utterance.shown[0] and spoken_ms < self.tuning.opening_ms

    def _make_job(self, utterance: Utterance, aim: Aim, now_s: float) -> Job:
        end = min(
            self._speech_end(utterance) if utterance.end is None else utterance.end,
            utterance.start + self.tuning.max_window_ms * SAMPLES_PER_MS,
        )
        body_end = min(end, self._buffer.end)
        lead = None
        if aim is Aim.FINAL and not utterance.cautious:
            lead = self._context.before(utterance.start, end)
        start = lead.start if lead else utterance.start
        pcm = np.concatenate((self._buffer.slice(start, body_end), utterance.tail[: end - body_end]))
        request = make_request(utterance, aim, pcm, lead, self.language, self.options)
        return Job(aim, utterance, request, utterance.start, end, now_s, lead)

    def _too_long(self, utterance: Utterance) -> bool:
        end = self._speech_end(utterance) if utterance.end is None else utterance.end
        return end - utterance.start > self.tuning.max_window_ms * SAMPLES_PER_MS

    def _speech_end(self, utterance: Utterance) -> int:
        """Where the window ends: silence never reaches the model."""
        if utterance.paused_at is None:
            return self._buffer.end
        return min(utterance.paused_at + self.tuning.postroll_ms * SAMPLES_PER_MS, self._buffer.end)

    # --- what to make of a result

    def _heard(self, job: Job) -> Heard:
        end = min(job.end, self._buffer.end)
        voiced_ms = self._buffer.voiced_ms(job.start, end, self.options.vad_threshold)
        return Heard(voiced_ms, (job.end - job.start) // SAMPLES_PER_MS)

    def _settle_language(self, job: Job, result: DecodeResult) -> None:
        if self.language or not result.language:
            return
        self.tally.detected(result.language, result.language_probability)
        speech_ms = (job.end - job.utterance.speech_start) // SAMPLES_PER_MS
        self.language = self._guess.heard(result, speech_ms)

    def _agree(self, job: Job, result: DecodeResult) -> None:
        # While the language is open, the next hypothesis may be in another one; and what the model itself doubts, or
        # wrote too little of, it will take back.
        sure = result.avg_logprob >= self.tuning.commit_logprob and not stopped_early(
            result, self._heard(job), 0
        )
        # Two decodes of nearly the same audio agree on its mistakes, so the older one must have heard less.
        job.utterance.agree(
            job.end,
            tuple(result.tokens),
            before=job.end - self.tuning.agree_ms * SAMPLES_PER_MS,
            commits=bool(self.language) and sure,
            text_of=self._text_of,
        )

    def _show(self, job: Job, result: DecodeResult) -> None:
        utterance = job.utterance
        text, committed = result.text.strip(), self._text_of(utterance.committed).strip()
        if utterance.shown == (text, committed) or (not text and not utterance.shown[0]):
            return
        utterance.shown = (text, committed)
        self._before(
            utterance,
            Transcript(
                text,
                self._ms(utterance.speech_start),
                self._ms(job.end),
                committed=committed,
                confidence=confidence(result, ()),
                language=result.language,
            ),
        )

    def _cut(self, job: Job, result: DecodeResult) -> None:
        """Closes the head of a long window, or gives up on audio that holds no text."""
        utterance, limit = job.utterance, self.options.max_words
        window_s = (job.end - job.start) / SAMPLE_RATE_HZ
        stable_s = window_s - self.tuning.settled_ms / 1000
        settled = settled_words(result.words, len(utterance.committed), stable_s)
        exactly = limit if limit and settled >= limit else 0
        cut = best_cut(result.words, settled, job.request.pcm, exactly)
        if cut is None:
            utterance.cut_after = job.end + self.tuning.cut_retry_ms * SAMPLES_PER_MS
            if not self._too_long(utterance):
                if self.options.interim_results:
                    self._show(job, result)
                return
            at = quietest(job.request.pcm, window_s * 2 / 3, window_s)
            utterance.move(job.start + at, ())
            return
        part = only_committed(result, tuple(result.tokens[: cut.tokens]), self._text_of)
        for transcript in self._finals(part, job, job.start + cut.at):
            self._before(utterance, transcript)
        rest = tuple(result.tokens[cut.tokens :])
        utterance.move(job.start + cut.at, rest, utterance.committed[cut.tokens :])

    def _complete(self, utterance: Utterance) -> None:
        """Says the final of a closed utterance that was heard to its end."""
        assert utterance.last is not None and utterance.end is not None
        job, result = utterance.last.job, utterance.last.result
        end = utterance.end if utterance.paused_at is None else utterance.paused_at
        said = self._finals(result, job, end)
        # Text of speech that a flush broke off may end in half a word: no head for what comes next.
        whole = utterance.paused_at is not None
        self._context.said(job.start, utterance.end, tuple(result.tokens) if whole else ())
        # Empty text is worth saying when it takes interims back or answers a flush.
        if not result.text.strip() and not utterance.from_flush and not utterance.shown[0]:
            said = []
        if said:
            said[-1] = replace(said[-1], speech_final=utterance.speech_final, from_flush=utterance.from_flush)
        at = self._queue.index(utterance)
        del self._queue[at]
        for transcript in reversed(said):
            self._queue.insert(at, transcript)

    def _finals(self, result: DecodeResult, job: Job, end: int) -> list[Transcript]:
        return finals(
            result,
            self._text_of,
            window_ms=(self._ms(job.start), self._ms(job.end)),
            stretch_ms=(self._ms(job.utterance.speech_start), self._ms(end)),
            max_words=self.options.max_words,
            word_times=self.options.template.word_times,
        )

    # --- small change

    def _said(self, event: Event) -> Event | None:
        """Bookkeeping of what leaves; the end of an utterance without words is nothing to speak of."""
        if isinstance(event, Transcript) and event.is_final:
            self.tally.final(event)
            if event.text:
                self._last_word_end_ms = event.end_ms
        elif isinstance(event, UtteranceEnd):
            last, self._last_word_end_ms = self._last_word_end_ms, None
            return None if last is None else UtteranceEnd(last)
        return event

    def _before(self, utterance: Utterance, event: Event) -> None:
        if utterance.closed:
            self._queue.insert(self._queue.index(utterance), event)
        else:
            self._queue.append(event)

    def _utterances(self) -> list[Utterance]:
        return [entry for entry in self._queue if isinstance(entry, Utterance)]

    def _words(self, tokens: tuple[int, ...]) -> int:
        return len(self._text_of(tokens).split()) if self.options.max_words else 0

    def _ms(self, sample: int) -> int:
        return self.options.offset_ms + sample // SAMPLES_PER_MS

    def _forget(self) -> None:
        oldest = next(iter(self._utterances()), self._open)
        preroll = (self.tuning.preroll_ms + 500) * SAMPLES_PER_MS
        keep = self._buffer.end - preroll
        first = self._context.keep_from(keep if oldest is None else min(oldest.start, keep))
        self._buffer.drop_before(max(first, 0))

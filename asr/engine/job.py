"""One request on its way through the model: prompt, attempts, result."""

import time
from collections.abc import Sequence
from enum import Enum

import numpy as np
import torch

from asr.engine.align import word_times
from asr.engine.decode import (
    FALLBACK_TEMPERATURES,
    Beam,
    Greedy,
    Hypothesis,
    Policy,
    compression_ratio,
    failed,
    is_silence,
    token_limit,
)
from asr.engine.keyterms import KeytermBias
from asr.engine.tokens import WhisperTokens
from asr.model import SAMPLE_RATE_HZ, DecodedWord, DecodeRequest, DecodeResult
from asr.models.decoder import Segment
from asr.models.dims import POSITION_SAMPLES
from asr.models.select import Ask, Choice, language_odds, probability
from asr.models.whisper import Whisper


class Stage(Enum):
    """What a job wants from the next step."""

    DETECT = "the language"
    OPEN = "the prompt read"
    STEP = "the next token"
    DONE = "nothing: the result is there"


class Job:
    """The state of one request. The engine thread owns it from admission to result."""

    def __init__(
        self, request: DecodeRequest, model: Whisper, tokens: WhisperTokens, first_ban: Sequence[int]
    ) -> None:
        self.request = request
        self._model, self._tokens = model, tokens
        self._banned_first = tuple(first_ban)
        self.rows: list[int] = []  # set by the engine, which may renumber them between steps
        self.started_s = 0.0
        self.result: DecodeResult | None = None
        self._language = request.language or tokens.languages[0]
        self._language_probability = 1.0
        detect = not request.language and tokens.multilingual
        self.stage = Stage.DETECT if detect else Stage.OPEN
        self._no_speech = 0.0
        self._keyterms = KeytermBias(request.keyterms, tokens.encode_exactly) if request.keyterms else None
        later = (
            [value for value in FALLBACK_TEMPERATURES if value > request.temperature]
            if request.fallback
            else []
        )
        self._temperatures = [request.temperature, *later]
        self._tried: list[tuple[Hypothesis, float]] = []
        self._attempt: Greedy | Beam
        self._prompt: list[int] = []

    @property
    def rows_needed(self) -> int:
        """Slots, for as long as it lives."""
        return min(max(1, self.request.beam_size), self._model.slots)

    @property
    def _row(self) -> int:
        return self.rows[0]

    @property
    def _duration_s(self) -> float:
        return len(self.request.pcm) / SAMPLE_RATE_HZ

    def mark_started(self) -> None:
        """It was admitted: its computing time runs from here."""
        self.started_s = time.monotonic()

    def begin(self) -> None:
        """The audio is in the first row: prepares the first attempt."""
        if self.stage is Stage.OPEN:
            self._open(self._temperatures.pop(0))

    def segments(self) -> list[Segment]:
        """What to append to its rows in the next step, in the order of `rows`."""
        if self.stage is Stage.DETECT:
            return [Segment(self._row, [self._tokens.sot], [0])]
        if self.stage is Stage.OPEN:
            appended, asked = self._opening
            tokens = [*self._prompt, *appended]
            start = self._prompt.index(self._tokens.sot)
            return [Segment(self._row, tokens, [start, *range(len(tokens) - asked, len(tokens))])]
        if isinstance(self._attempt, Beam):
            live = self._attempt.live
            return [
                Segment(row, [found.tokens[-1]], [0]) for row, found in zip(self.rows, live, strict=False)
            ]
        tokens = self._attempt.pending()
        return [Segment(self._row, tokens, list(range(len(tokens))))]

    @property
    def raw_answers(self) -> int:
        """How many of its first rows of logits it reads itself, before those that answer `asks`."""
        return int(self.stage in (Stage.DETECT, Stage.OPEN))

    def asks(self) -> list[Ask]:
        """One question per remaining row of logits."""
        if self.stage is Stage.DETECT:
            return []
        if self.stage is Stage.OPEN and isinstance(self._attempt, Greedy):
            return self._attempt.opening_asks()
        return self._attempt.asks()

    def take(self, raw: torch.Tensor | None, choices: list[Choice]) -> None:
        """Takes the answers of a step; raw [vocabulary] are the logits behind the start token, where asked for."""
        if self.stage is Stage.DETECT:
            assert raw is not None
            self._detected(raw)
        elif self.stage is Stage.OPEN:
            assert raw is not None
            self._no_speech = probability(raw, self._tokens.no_speech)
            self._opened(choices)
        elif isinstance(self._attempt, Beam):
            self._grow(self._attempt, choices)
        else:
            self._model.cache.text_length[self._row] -= self._attempt.take(choices)
        if self.stage is Stage.STEP and self._attempt.done:
            self._judge()

    def _detected(self, raw: torch.Tensor) -> None:
        codes = self._tokens.language_ids
        odds = language_odds(raw, list(codes.values()))
        best = int(np.argmax(odds))
        self._language, self._language_probability = list(codes)[best], odds[best]
        self._open(self._temperatures.pop(0))

    def _open(self, temperature: float) -> None:
        """Starts an attempt from the prompt."""
        request, tokens = self.request, self._tokens
        start = tokens.start(self._language, request.task)
        context = list(request.context)[-(self._model.dims.n_text_ctx // 2 - 1) :]
        self._prompt = [tokens.start_of_prev, *context, *start] if context else start
        room = self._model.dims.n_text_ctx - len(self._prompt) - 1
        limit = max(token_limit(self._duration_s, room), min(room, len(request.prefix)))
        policy = Policy(tokens.eot, self._banned_first, limit, temperature, self._keyterms)
        prefix = request.prefix[:limit]
        if self.rows_needed > 1 and temperature == 0:
            self._attempt = Beam(policy, prefix, self.rows_needed)
            self._opening: tuple[list[int], int] = (list(prefix), 1)
        else:
            draft = request.draft if temperature == 0 else ()
            self._attempt = Greedy(policy, prefix, draft, score_prefix=request.word_times)
            self._opening = self._attempt.opening()
        self._temperature = temperature
        for row in self.rows:
            self._model.cache.text_length[row] = 0
        self.stage = Stage.OPEN

    def _opened(self, choices: list[Choice]) -> None:
        self.stage = Stage.STEP
        if isinstance(self._attempt, Greedy):
            self._model.cache.text_length[self._row] -= self._attempt.open(choices)
            return
        for row in self.rows[1:]:
            self._model.cache.move(self._row, row)
        self._grow(self._attempt, choices)

    def _grow(self, beam: Beam, choices: list[Choice]) -> None:
        parents = [self.rows[parent] for parent in beam.advance(choices)]
        self._model.cache.reorder_text(self.rows[: len(parents)], parents)

    def _judge(self) -> None:
        """Ends an attempt: keeps it, or opens the next at a higher temperature."""
        best = self._attempt.best
        self._tried.append((best, self._temperature))
        text = self._tokens.decode(best.tokens)
        silent = is_silence(best, self._no_speech)
        if not silent and self._temperatures and failed(best, text):
            self._open(self._temperatures.pop(0))
            return
        if not silent and failed(best, text):  # none was good: a loop is worse than a low probability
            best = max(self._tried, key=lambda tried: (not tried[0].looped, tried[0].avg_logprob))[0]
        self.result = self._finish(Hypothesis() if silent and not self.request.prefix else best)
        self.stage = Stage.DONE

    def _finish(self, found: Hypothesis) -> DecodeResult:
        text = self._tokens.decode(found.tokens).strip()
        return DecodeResult(
            tokens=found.tokens,
            text=text,
            words=self._words(found) if self.request.word_times and found.tokens else [],
            language=self._language,
            language_probability=self._language_probability,
            avg_logprob=found.avg_logprob,
            compression_ratio=compression_ratio(text),
            no_speech_prob=self._no_speech,
            temperature=next((heat for tried, heat in self._tried if tried is found), self._temperature),
            compute_ms=round((time.monotonic() - self.started_s) * 1000),
        )

    def _words(self, found: Hypothesis) -> list[DecodedWord]:
        """Word times; the row must hold the tokens of this very hypothesis, so what it lacks is read again."""
        first = len(self._prompt) - 1
        end = first + len(found.tokens) + 1
        length = self._model.cache.text_length
        if isinstance(self._attempt, Beam) or self._attempt.best is not found:
            length[self._row] = 0
            self._model.forward([Segment(self._row, [*self._prompt, *found.tokens], [0])])
        elif length[self._row] < end:
            missing = found.tokens[length[self._row] - end :]
            self._model.forward([Segment(self._row, missing, [0])])
        positions = max(
            1, min(-(-len(self.request.pcm) // POSITION_SAMPLES), self._model.cache.audio_length[self._row])
        )
        weights = self._model.attention_weights(self._row, first, end, positions)
        words = self._tokens.words(found.tokens, self._language)
        return word_times(words, weights.numpy(), found.logprobs, self.request.pcm)

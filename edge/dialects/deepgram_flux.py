"""Deepgram Flux: the turns of a conversation, WS /v2/listen (section 3.5), without I/O.

No model here foresees the end of a turn: silence tells it. The confidence that a turn has ended is how many of the
pauses inside speech would be over by now, if their lengths were exponential with a mean of half a second. It is 0
while somebody speaks, 0.7 after 602 ms and never 1, so a threshold is a silence, and that of 1.0 does not come.
"""

import math
from collections import Counter
from dataclasses import dataclass, field, replace

from common.errors import InvalidArgument, VoxmeshError
from common.pb.voxmesh.asr.v1 import RecognizeResponse, Result
from edge.dialects import smallest
from edge.dialects.deepgram_stream import MIN_ENDPOINTING_MS, DeepgramSocket
from edge.finish.options import finish_options
from edge.formats import input_format, language
from edge.listening.requests import Action, Audio, End, Flush, ListenOptions, Reconfigure, Reply
from edge.listening.words import of_results
from edge.values import Fields, Json, boolean, integer, json_object, number, seconds, string, strings

DIALECT = "deepgram_flux"
MAX_HINTS = 50
MEAN_PAUSE_MS = 500
# Silence inside a turn that settles the words before it: to hear them once more would not make them better.
_SETTLED_MS = 1_500
_ENGLISH = "flux-general-en"


class FluxListen(DeepgramSocket):
    """One client: its messages to actions, recogniser events to its messages."""

    idle_s: float | None = None  # its clients have no message that would keep a silent socket open

    def __init__(self, query: Fields, request_id: str) -> None:
        """Reads the connect query; unknown keys are ignored.

        Raises:
            InvalidArgument: a value that cannot be read or is out of range.
        """
        super().__init__(query, request_id)
        self._in_use = self._asked = _settings(query)
        self.options = self._in_use.options
        self._sequence = 0
        self._index = 0
        self._turn: _Turn | None = None

    def opened(self) -> list[Json]:
        return [self._message("Connected")]

    def binary(self, data: bytes) -> list[Action]:
        heard: list[Action] = [Audio(data)] if data else []
        if self._in_use == self._asked or self._turn is not None:
            return heard
        # Between turns: a recogniser that begins anew would lose the half of a word.
        self._in_use = self._asked
        self.options = self._in_use.options
        return [Reconfigure(self.options), *heard]

    def text(self, text: str) -> list[Action]:
        message = json_object(text)
        kind = message.get("type")
        if kind == "Configure":
            return [Reply(self._configure(message))]
        if kind == "ForceEndTurn":
            return [Flush()]
        if kind == "CloseStream":
            return [End()]
        raise InvalidArgument("type must be one of: Configure, ForceEndTurn, CloseStream")

    def event(self, response: RecognizeResponse) -> list[Json]:
        if response.result is not None:
            return self._result(response.result)
        if response.speech_started is not None:
            return self._resumed_turn()
        if response.utterance_end is not None and self._turn is not None:
            self._turn.silence_ms = self._in_use.turn_ms
            return self._end("timeout" if self._in_use.times_out else "model")
        if response.summary is not None or response.started is not None:
            # No audio will follow in the recogniser's stream, or none did: another has begun with other settings.
            return self._end("stream_end")
        return []

    def failed(self, error: VoxmeshError) -> list[Json]:
        cut_short = self._end("error")
        return [*cut_short, self._message("Error", code=error.code, description=error.message)]

    def _message(self, kind: str, **fields: object) -> Json:
        numbered = super()._message(kind, sequence_id=self._sequence, **fields)
        self._sequence += 1
        return numbered

    def _configure(self, message: Json) -> Json:
        try:
            self._asked = _changed(self._asked, message)
        except InvalidArgument as error:
            return self._message("ConfigureFailure", code=error.code, description=error.message)
        return self._message("ConfigureSuccess", **self._asked.shown)

    def _result(self, result: Result) -> list[Json]:
        turn, text = self._turn, result.text.strip()
        if turn is None and not text:
            return []
        event = "StartOfTurn" if turn is None else "TurnResumed" if turn.awaits_end else "Update"
        if turn is None:
            turn = self._turn = _Turn(result.start_ms)
        before = turn.transcript
        turn.hear(result)
        news = turn.transcript != before
        if result.speech_final:
            turn.silence_ms = self._in_use.stretch_ms
        elif news:
            turn.silence_ms = 0
        # The words that opened the turn may have been taken back: then no silence after words will end it.
        ends = result.from_flush or (result.speech_final and not turn.transcript)
        messages: list[Json] = []
        if news and not (ends and event == "Update"):
            turn.awaits_end = False
            messages.append(self._turn_info(turn, event))
        if ends:
            return [*messages, *self._end("manual" if result.from_flush else "model")]
        if result.speech_final and self._in_use.is_eager and not turn.awaits_end:
            turn.awaits_end = True
            messages.append(self._turn_info(turn, "EagerEndOfTurn"))
        return messages

    def _resumed_turn(self) -> list[Json]:
        turn = self._turn
        if turn is None or not turn.awaits_end:
            return []
        turn.awaits_end, turn.silence_ms = False, 0
        return [self._turn_info(turn, "TurnResumed")]

    def _end(self, trigger: str) -> list[Json]:
        turn, self._turn = self._turn, None
        if turn is None:
            return []
        ended = self._turn_info(turn, "EndOfTurn", trigger=trigger)
        self._index += 1
        return [ended]

    def _turn_info(self, turn: "_Turn", event: str, **fields: object) -> Json:
        if not self.options.language:
            fields["languages"] = [code for code, _ in turn.languages.most_common()]
        if self._in_use.hints:
            fields["languages_hinted"] = list(self._in_use.hints)
        return self._message(
            "TurnInfo",
            event=event,
            turn_index=self._index,
            audio_window_start=seconds(turn.start_ms),
            audio_window_end=seconds(turn.end_ms),
            transcript=turn.transcript,
            words=turn.words,
            end_of_turn_confidence=round(confidence(turn.silence_ms), 4),
            **fields,
        )


def confidence(silence_ms: float) -> float:
    """That a turn has ended after so much silence."""
    return 1 - math.exp(-silence_ms / MEAN_PAUSE_MS)


def silence_ms(threshold: float) -> float:
    """The silence after which the confidence is that high."""
    return math.ceil(-MEAN_PAUSE_MS * math.log1p(-threshold)) if threshold < 1 else math.inf


@dataclass(slots=True)
class _Turn:
    """What was said since somebody began to speak."""

    start_ms: int
    end_ms: int = 0
    finals: list[Result] = field(default_factory=list)
    interim: Result | None = None  # after the finals
    awaits_end: bool = False  # EagerEndOfTurn was said and still holds
    silence_ms: int = 0  # after the last word, as far as the recogniser has told

    def hear(self, result: Result) -> None:
        self.end_ms = max(self.end_ms, result.end_ms)
        self.interim = None if result.is_final else result
        if result.is_final:
            self.finals.append(result)

    @property
    def results(self) -> list[Result]:
        return [*self.finals, self.interim] if self.interim else self.finals

    @property
    def transcript(self) -> str:
        return " ".join(text for one in self.results if (text := one.text.strip()))

    @property
    def words(self) -> list[Json]:
        """Those of finals have times; of the others only the confidence of all together is known."""
        words = [smallest.word(one) for one in of_results(self.finals)]
        if self.interim:
            sure = round(self.interim.confidence, 4)
            words += [{"word": word, "confidence": sure} for word in self.interim.text.split()]
        return words

    @property
    def languages(self) -> Counter[str]:
        """Words in each language."""
        counts: Counter[str] = Counter()
        for one in self.results:
            if one.language:
                counts[one.language] += len(one.text.split())
        return counts


@dataclass(frozen=True, slots=True, kw_only=True)
class _Settings:
    """What a client asked for."""

    options: ListenOptions
    hints: tuple[str, ...]
    eot_threshold: float = 0.7
    eager_eot_threshold: float = 0.0  # 0 sends no EagerEndOfTurn
    eot_timeout_ms: int = 5_000

    @property
    def turn_ms(self) -> int:
        """Silence that ends a turn."""
        return int(min(silence_ms(self.eot_threshold), self.eot_timeout_ms))

    @property
    def times_out(self) -> bool:
        """That is the timeout's, not the threshold's."""
        return self.eot_timeout_ms < silence_ms(self.eot_threshold)

    @property
    def is_eager(self) -> bool:
        """A shorter silence, or the same, may end it."""
        return self.eager_eot_threshold > 0 and silence_ms(self.eager_eot_threshold) <= self.turn_ms

    @property
    def stretch_ms(self) -> int:
        """Silence after which the words do not change any more."""
        eager_ms = max(silence_ms(self.eager_eot_threshold), MIN_ENDPOINTING_MS)
        return int(min(eager_ms if self.is_eager else _SETTLED_MS, self.turn_ms))

    @property
    def shown(self) -> Json:
        """As ConfigureSuccess has it."""
        thresholds = {"eot_threshold": self.eot_threshold, "eot_timeout_ms": self.eot_timeout_ms}
        if self.eager_eot_threshold:
            thresholds["eager_eot_threshold"] = self.eager_eot_threshold
        return {
            "thresholds": thresholds,
            "keyterms": [phrase for phrase, _ in self.options.keyterms],
            "language_hints": list(self.hints),
            "numerals": self.options.finish.numerals,
        }

    def with_thresholds(self, fields: Fields) -> "_Settings":
        """The same with those that are named; raises InvalidArgument."""
        eot = number(fields, "eot_threshold", self.eot_threshold, 0.5, 1.0)
        eager = number(fields, "eager_eot_threshold", self.eager_eot_threshold, 0.3, 0.9)
        if eager > eot:
            raise InvalidArgument(
                "eager_eot_threshold must not be above eot_threshold", parameter="eager_eot_threshold"
            )
        new = replace(
            self,
            eot_threshold=eot,
            eager_eot_threshold=eager,
            eot_timeout_ms=integer(fields, "eot_timeout_ms", self.eot_timeout_ms, 500, 60_000),
        )
        options = replace(
            self.options,
            endpointing_ms=new.stretch_ms,
            utterance_end_ms=new.turn_ms,
            vad_events=new.is_eager,
        )
        return replace(new, options=options)


def _settings(query: Fields) -> _Settings:
    model = string(query, "model") or _ENGLISH
    hints = _hints(query, "language_hint")
    options = ListenOptions(
        format=input_format(query, encoding="container", sample_rate_hz=16_000),
        model=model,
        language="en" if model.endswith("-en") else _only(hints),
        interim_results=True,
        word_times=True,
        keyterms=smallest.keyterms(query),
        profanity_filter=boolean(query, "profanity_filter", False),
        finish=finish_options(query),
    )
    return _Settings(options=options, hints=hints).with_thresholds(query)


def _changed(before: _Settings, message: Json) -> _Settings:
    """With what a Configure names: null is no name."""
    options, hints = before.options, before.hints
    if message.get("keyterms") is not None:
        options = replace(options, keyterms=smallest.keyterms({"keyterm": message["keyterms"]}))
    if message.get("language_hints") is not None:
        hints = _hints(message, "language_hints")
        if not options.model.endswith("-en"):
            options = replace(options, language=_only(hints))
    numerals = boolean(message, "numerals", options.finish.numerals)
    options = replace(
        options,
        finish=replace(options.finish, numerals=numerals),
        profanity_filter=boolean(message, "profanity_filter", options.profanity_filter),
    )
    thresholds = message.get("thresholds") or {}
    if not isinstance(thresholds, dict):
        raise InvalidArgument("thresholds must be an object", parameter="thresholds")
    return replace(before, options=options, hints=hints).with_thresholds(thresholds)


def _hints(fields: Fields, name: str) -> tuple[str, ...]:
    return tuple(language({name: code}, name) for code in strings(fields, name, max_items=MAX_HINTS))


def _only(hints: tuple[str, ...]) -> str:
    """The language to recognise: the one that was hinted at, else whatever is heard."""
    return hints[0] if len(hints) == 1 else ""

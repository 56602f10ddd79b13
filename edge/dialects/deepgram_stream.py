"""Deepgram live recognition: WS /v1/listen (section 3.2), without I/O."""

import hashlib
import re
from dataclasses import replace

from common.errors import InvalidArgument, VoxmeshError
from common.pb.voxmesh.asr.v1 import RecognizeResponse, Result
from edge.dialects import callbacks, deepgram, smallest
from edge.finish.options import finish_options
from edge.formats import input_format, language
from edge.listening.requests import Action, Audio, End, Flush, ListenOptions, Reconfigure, Reply
from edge.values import Fields, Json, boolean, integer, json_object, seconds, string, strings

IDLE_S = 10.0
_IDLE_REASON = "Deepgram did not receive audio data or a text message within the timeout window. See https://dpgr.am/net0001"
_DEFAULT_RATE_HZ = 16_000
MIN_ENDPOINTING_MS = 200
_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")


class DeepgramSocket:
    """What the live sockets have in common: their id is in every message, and a client that knows it may come back."""

    idle_s: float | None = IDLE_S
    close_reason = _IDLE_REASON

    def __init__(self, query: Fields, request_id: str) -> None:
        asked = string(query, "session_id", max_chars=128)
        if asked and not _ID.fullmatch(asked):
            raise InvalidArgument("session_id must be the request_id of an earlier stream")
        self.resuming = bool(asked)
        self._request_id = self.public_id = asked or request_id

    def resumed(self, found: bool, at_ms: int) -> list[Json]:
        """Not in the vendor's dialect: who asks for it knows of it."""
        return [self._message("Resumed", resumed=found, position=seconds(at_ms))]

    def ending(self) -> None:
        """Nothing changes: the last words come as all others do."""

    def _message(self, kind: str, **fields: object) -> Json:
        return {"type": kind, "request_id": self._request_id, **fields}


class DeepgramListen(DeepgramSocket):
    """One client: its messages to actions, recogniser events to its messages."""

    def __init__(self, query: Fields, request_id: str) -> None:
        """Reads the connect query; unknown keys are ignored.

        Raises:
            InvalidArgument: a value that cannot be read.
        """
        super().__init__(query, request_id)
        self.options = _options(query)
        self.callback = callbacks.asked(query, styles=("deepgram",))
        self._model = ""
        self._sha256 = hashlib.sha256()

    def opened(self) -> list[Json]:
        return []

    def calling_back(self) -> Json:
        return {"request_id": self._request_id}

    def binary(self, data: bytes) -> list[Action]:
        if not data:
            return [End()]
        self._sha256.update(data)
        return [Audio(data)]

    def text(self, text: str) -> list[Action]:
        message = json_object(text)
        kind = message.get("type")
        if kind == "KeepAlive":
            return []
        if kind == "Finalize":
            return [Flush()]
        if kind == "CloseStream":
            return [End()]
        if kind == "Configure":
            return self._configure(message)
        raise InvalidArgument("type must be one of: KeepAlive, Finalize, CloseStream, Configure")

    def event(self, response: RecognizeResponse) -> list[Json]:
        if response.started is not None:
            self._model = response.started.model
        elif response.result is not None:
            return self._result(response.result)
        elif (began := response.speech_started) is not None:
            return [{"type": "SpeechStarted", "channel": [began.channel], "timestamp": seconds(began.at_ms)}]
        elif (quiet := response.utterance_end) is not None:
            channel = [quiet.channel, self._channels]
            return [
                {"type": "UtteranceEnd", "channel": channel, "last_word_end": seconds(quiet.last_word_end_ms)}
            ]
        elif response.summary is not None:
            return [self._metadata(response.summary.audio_ms)]
        return []

    def failed(self, error: VoxmeshError) -> list[Json]:
        return [
            {"type": "Error", "variant": error.code, "description": error.message, "message": error.message}
        ]

    @property
    def _channels(self) -> int:
        return max(self.options.format.channels, 1) if self.options.multichannel else 1

    def _configure(self, message: Json) -> list[Action]:
        try:
            terms = tuple(
                (term, 0.0) for term in strings(message, "keyterms", max_items=smallest.MAX_KEYTERMS)
            )
        except InvalidArgument as error:
            failure = self._message("ConfigureFailure", code=error.code, description=error.message)
            return [Reply(failure)]
        self.options = replace(self.options, keyterms=terms)
        success = self._message("ConfigureSuccess", keyterms=[term for term, _ in terms])
        return [Reconfigure(self.options), Reply(success)]

    def _result(self, result: Result) -> list[Json]:
        text = result.text.strip()
        if not result.is_final and not text:
            return []
        shown = [
            deepgram.word(one, punctuated=self.options.punctuate, diarize=self.options.diarize)
            for one in result.words
        ]
        alternative = {"transcript": text, "confidence": round(result.confidence, 4), "words": shown}
        if not self.options.language and result.language:
            alternative["languages"] = [result.language]
        return [
            {
                "type": "Results",
                "channel_index": [result.channel, self._channels],
                "duration": seconds(max(result.end_ms - result.start_ms, 0)),
                "start": seconds(result.start_ms),
                "is_final": result.is_final,
                "speech_final": result.speech_final,
                "from_finalize": result.from_flush,
                "channel": {"alternatives": [alternative]},
                "metadata": {
                    "request_id": self._request_id,
                    "model_info": deepgram.model_info(self._model),
                    "model_uuid": deepgram.model_id(self._model),
                },
            }
        ]

    def _metadata(self, audio_ms: int) -> Json:
        return {
            "type": "Metadata",
            "transaction_key": "deprecated",
            "request_id": self._request_id,
            "sha256": self._sha256.hexdigest(),
            "created": deepgram.now(),
            "duration": seconds(audio_ms),
            "channels": self._channels,
            "models": [deepgram.model_id(self._model)],
            "model_info": {deepgram.model_id(self._model): deepgram.model_info(self._model)},
        }


def _options(query: Fields) -> ListenOptions:
    interims = boolean(query, "interim_results", False)
    pause = query.get("utterance_end_ms")
    return ListenOptions(
        format=input_format(query, encoding="container", sample_rate_hz=_DEFAULT_RATE_HZ),
        model=string(query, "model"),
        language=language(query, default="en") if not boolean(query, "detect_language", False) else "",
        interim_results=interims,
        word_times=True,
        vad_events=boolean(query, "vad_events", False),
        endpointing_ms=_endpointing(query),
        utterance_end_ms=integer(query, "utterance_end_ms", 1_000, 100, 30_000) if pause else None,
        punctuate=boolean(query, "punctuate", True),
        keyterms=smallest.keyterms(query),
        multichannel=boolean(query, "multichannel", False),
        diarize=boolean(query, "diarize", False),
        profanity_filter=boolean(query, "profanity_filter", False),
        finish=finish_options(query),
    )


def _endpointing(query: Fields) -> int | None:
    """`false`, `true` or milliseconds. Very short ones would cut words from a whole-phrase model, so they are raised."""
    value = str(query.get("endpointing", "true")).strip().lower()
    if value == "true":
        return None
    if value == "false":
        return 0
    return max(integer(query, "endpointing", 0, 0, 60_000), MIN_ENDPOINTING_MS)

"""JSON Schema of the messages of Deepgram Flux: the turns of a conversation."""

from edge.api.answers import CONFIDENCE, SECONDS
from edge.api.fields import FLAG, TEXT, WHOLE, many, maybe, record
from edge.api.frames import AUDIO, RESUMED, typed
from edge.values import Json

_NUMBERED: Json = {"request_id": TEXT, "sequence_id": WHOLE}
_THRESHOLDS = record(
    {},
    {
        "eot_threshold": maybe({"type": "number", "minimum": 0.5, "maximum": 1.0}),
        "eager_eot_threshold": maybe({"type": "number", "minimum": 0.3, "maximum": 0.9}),
        "eot_timeout_ms": maybe({"type": "integer", "minimum": 500, "maximum": 60_000}),
    },
)
_TURN_EVENTS = ["StartOfTurn", "Update", "EagerEndOfTurn", "TurnResumed", "EndOfTurn"]
RECEIVES = (
    AUDIO,
    typed(
        "Configure",
        "Other settings from the next turn on; what is left out or null stays.",
        {},
        {
            "thresholds": maybe(_THRESHOLDS),
            "keyterms": maybe({"anyOf": [many(TEXT), TEXT]}),
            "language_hints": maybe(many(TEXT)),
            "numerals": maybe(FLAG),
            "profanity_filter": maybe(FLAG),
        },
        thresholds={"eot_threshold": 0.8},
        keyterms=["Voxmesh"],
    ),
    typed("ForceEndTurn", "The turn ends here; without one, nothing happens."),
    typed("CloseStream", "No more audio: the turn that is open ends, then close."),
)
SENDS = (
    typed("Connected", "The first message.", _NUMBERED),
    typed(
        "TurnInfo",
        "What is known of a turn. Update comes with new text, EagerEndOfTurn and TurnResumed where "
        "eager_eot_threshold was asked for. A turn that has begun ends with EndOfTurn, also where the stream does.",
        {
            **_NUMBERED,
            "event": {"enum": _TURN_EVENTS},
            "turn_index": WHOLE,
            "audio_window_start": SECONDS,
            "audio_window_end": SECONDS,
            "transcript": {**TEXT, "description": "of the whole turn"},
            "words": many(
                record(
                    {"word": TEXT, "confidence": CONFIDENCE},
                    {"start": SECONDS, "end": SECONDS},
                    "Without times it may still change; its confidence is then that of all such words together.",
                )
            ),
            "end_of_turn_confidence": {
                **CONFIDENCE,
                "description": "1 - exp(-silence / 0.5 s) of the silence that has been measured, 0 in speech; no model "
                "foresees the end of a turn",
            },
        },
        {
            "trigger": {
                **TEXT,
                "description": "of EndOfTurn: model (eot_threshold), timeout (eot_timeout_ms), manual (ForceEndTurn), "
                "stream_end (the audio is over) or error",
            },
            "languages": many(TEXT),
            "languages_hinted": many(TEXT),
        },
    ),
    typed(
        "ConfigureSuccess",
        "All settings, in use from the next turn on.",
        {**_NUMBERED, "thresholds": _THRESHOLDS, "keyterms": many(TEXT)},
        {"language_hints": many(TEXT), "numerals": FLAG},
    ),
    typed(
        "ConfigureFailure",
        "A setting was refused; all stay as they were.",
        {**_NUMBERED, "code": TEXT, "description": TEXT},
    ),
    typed("Resumed", RESUMED, {**_NUMBERED, "resumed": FLAG, "position": SECONDS}),
    typed("Error", "The stream ends.", {**_NUMBERED, "code": TEXT, "description": TEXT}),
)

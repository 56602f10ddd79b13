"""Deepgram pre-recorded: POST /v1/listen (section 3.1)."""

import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from common.pb.voxmesh.asr.v1 import Word
from edge.dialects import smallest
from edge.finish.search import search
from edge.listening.requests import ListenOptions, Transcript
from edge.listening.words import Stretch, bare, by_pause, by_sentence, of_results
from edge.values import Fields, Json, boolean, number, seconds

MAX_PAUSE_S = 30.0
DEFAULT_PAUSE_S = 0.8
# A paragraph is as long as people like to read: some sentences, fewer after a long pause or with another speaker.
SENTENCES_PER_PARAGRAPH = 4
PARAGRAPH_PAUSE_MS = 2_000
# What no model here can do is said, never made up.
UNSUPPORTED = (
    "summarize",
    "sentiment",
    "topics",
    "intents",
    "detect_entities",
    "dictation",
    "measurements",
)
_MODELS = uuid.UUID("6f2b0c1e-5a67-4a57-9f0e-6a1f4c1d9a55")  # names of models as uuids are derived from this


def listen_options(fields: Fields) -> ListenOptions:
    """Options of POST /v1/listen in either dialect: the union of both."""
    options = smallest.listen_options(fields)
    return replace(options, language="") if boolean(fields, "detect_language", False) else options


def word(one: Word, *, punctuated: bool, diarize: bool) -> Json:
    """A word as Deepgram shows it: bare, with its written form beside it."""
    shown: Json = {
        "word": bare(one.text),
        "start": seconds(one.start_ms),
        "end": seconds(one.end_ms),
        "confidence": round(one.confidence, 4),
    }
    if punctuated:
        shown["punctuated_word"] = one.text
    if diarize and one.speaker is not None:
        shown |= {"speaker": one.speaker, "speaker_confidence": round(one.confidence, 4)}
    return shown


def model_id(model: str) -> str:
    """A stable uuid for a model name: this dialect wants one."""
    return str(uuid.uuid5(_MODELS, model))


def model_info(model: str) -> Json:
    return {"name": model, "version": "1", "arch": "whisper"}


def transcript(result: Transcript, fields: Fields) -> Json:
    """Body of POST /v1/listen, Deepgram's part."""
    channels = list(range(result.summary.channels)) if result.options.multichannel else [0]
    results: Json = {"channels": [_channel(result, fields, channel) for channel in channels or [0]]}
    if boolean(fields, "utterances", False):
        results["utterances"] = [
            one for channel in channels or [0] for one in _utterances(result, fields, channel)
        ]
    metadata: Json = {
        "transaction_key": "deprecated",
        "request_id": result.request_id,
        "sha256": result.sha256,
        "created": now(),
        "duration": seconds(result.duration_ms),
        "channels": max(len(channels), 1),
        "models": [model_id(result.model)],
        "model_info": {model_id(result.model): model_info(result.model)},
    }
    asked = [
        name for name in UNSUPPORTED if name in fields and str(fields[name]).lower() not in ("false", "")
    ]
    if asked:
        metadata["warnings"] = [
            {"parameter": name, "type": "unsupported_feature", "message": f"{name} is not available here"}
            for name in asked
        ]
    if tag := fields.get("tag"):
        metadata["tags"] = [tag] if isinstance(tag, str) else tag
    return {"metadata": metadata, "results": results}


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _channel(result: Transcript, fields: Fields, channel: int) -> Json:
    only = channel if result.options.multichannel else None
    words = result.words(only)
    alternative: Json = {
        "transcript": result.channel_text(only),
        "confidence": result.channel_confidence(only),
        "words": _words(result, words),
    }
    if boolean(fields, "paragraphs", False) and words:
        alternative["paragraphs"] = paragraphs(words)
    shown: Json = {"alternatives": [alternative]}
    if result.options.finish.search:
        shown["search"] = search(words, result.options.finish.search)
    if not result.options.language:
        alternative["languages"] = [result.language] if result.language else []
        shown["detected_language"] = result.language
        shown["language_confidence"] = round(result.summary.language_confidence, 4)
    return shown


def _words(result: Transcript, words: Sequence[Word]) -> list[Json]:
    options = result.options
    return [word(one, punctuated=options.punctuate, diarize=options.diarize) for one in words]


def _utterances(result: Transcript, fields: Fields, channel: int) -> list[Json]:
    only = channel if result.options.multichannel else None
    pause_ms = int(number(fields, "utt_split", DEFAULT_PAUSE_S, 0.0, MAX_PAUSE_S) * 1000)
    stretches = by_pause(of_results(result.channel(only)), max(pause_ms, 1))
    return [
        {
            "start": seconds(one.start_ms),
            "end": seconds(one.end_ms),
            "confidence": round(one.confidence, 4),
            "channel": channel,
            "transcript": one.text,
            "words": _words(result, one.words),
            "id": str(uuid.uuid4()),
            **({} if one.speaker is None else {"speaker": one.speaker}),
        }
        for one in stretches
    ]


def paragraphs(words: Sequence[Word]) -> Json:
    """Sentences in paragraphs."""
    held: list[list[Stretch]] = []
    for sentence in by_sentence(words):
        last = held[-1] if held else None
        if (
            last is None
            or len(last) >= SENTENCES_PER_PARAGRAPH
            or sentence.speaker != last[-1].speaker
            or sentence.start_ms - last[-1].end_ms >= PARAGRAPH_PAUSE_MS
        ):
            held.append([sentence])
        else:
            last.append(sentence)
    return {
        "transcript": "\n\n".join(" ".join(one.text for one in paragraph) for paragraph in held),
        "paragraphs": [
            {
                "sentences": [
                    {"text": one.text, "start": seconds(one.start_ms), "end": seconds(one.end_ms)}
                    for one in paragraph
                ],
                "start": seconds(paragraph[0].start_ms),
                "end": seconds(paragraph[-1].end_ms),
                "num_words": sum(len(one.words) for one in paragraph),
                **({} if paragraph[0].speaker is None else {"speaker": paragraph[0].speaker}),
            }
            for paragraph in held
        ],
    }

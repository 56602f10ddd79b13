"""Waves: voices, cloned voices and pronunciation dictionaries (section 2.8), without I/O."""

from collections.abc import Sequence

from common.errors import InvalidArgument, MissingParameter
from common.pb.voxmesh.tts.v1 import Voice
from edge.listening.requests import Dictionary, Pronunciations
from edge.values import Fields, Json, required

MAX_ITEMS = 1_000
MAX_WORD_CHARS, MAX_PRONUNCIATION_CHARS = 100, 200
NO_CLONING = "Voice cloning is not available: no installed model can clone a voice"


def voices(known: Sequence[Voice], model: str) -> Json:
    """GET /{model}/get_voices."""
    return {"voices": [_voice(one) for one in known], "model": model}


def all_models(known: Sequence[Voice]) -> Json:
    """GET /voice/get-all-models."""
    return {
        "voices": [
            {"_id": one.name, **_voice(one), "description": one.engine, "audioPreview": ""} for one in known
        ]
    }


def dictionary(one: Dictionary) -> Json:
    """An entry of GET /pronunciation-dicts and the answer of POST."""
    items = [{"word": word, "pronunciation": said} for word, said in one.items]
    return {"id": one.id, "items": items, "createdAt": one.created_at}


def dictionary_items(fields: Fields) -> Pronunciations:
    """`items` of POST and PUT /pronunciation-dicts; raises InvalidArgument."""
    entries = fields.get("items")
    if entries is None:
        raise MissingParameter("Missing required parameter: items", parameter="items")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InvalidArgument("items must be a list of {word, pronunciation}", parameter="items")
    if not 0 < len(entries) <= MAX_ITEMS:
        raise InvalidArgument(f"items must have 1 to {MAX_ITEMS} entries", parameter="items")
    return tuple(
        (
            required(entry, "word", max_chars=MAX_WORD_CHARS),
            required(entry, "pronunciation", max_chars=MAX_PRONUNCIATION_CHARS),
        )
        for entry in entries
    )


def _voice(one: Voice) -> Json:
    language = one.language.split("-")[0]
    tags: Json = {"language": [language], "accent": one.language, "gender": "", "age": ""}
    return {
        "voiceId": one.name,
        "displayName": one.name,
        "tags": {**tags, "emotions": [], "usecases": []},
    }

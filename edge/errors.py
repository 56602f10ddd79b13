"""Errors as each family of clients reads them (pure functions)."""

import math
from enum import Enum

from common.errors import InvalidArgument, NotFound, Unauthenticated, VoxmeshError
from edge.values import Json


class Family(Enum):
    """Whose error bodies a path answers with."""

    SMALLEST_DEEPGRAM = "smallest+deepgram"
    OPENAI = "openai"
    WAVES = "waves"
    WAVES_SPEAK = "waves speak"


_DEEPGRAM_CODES = {
    400: "Bad Request",
    401: "INVALID_AUTH",
    403: "INSUFFICIENT_PERMISSIONS",
    429: "TOO_MANY_REQUESTS",
}
_OPENAI_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
_HTTP_SERVER_ERROR = 500


def family_of(path: str) -> Family:
    """The family that a path belongs to; the middle of the road for paths of our own."""
    if path.startswith(("/v1/audio", "/v1/realtime", "/v1/models")):
        return Family.OPENAI
    if path.startswith(("/waves/", "/api/v1/")):
        speaks = ("/tts", "speech", "voices", "voice")
        stt = ("speech-to-text", "get_text", "/stt", "/voice-cloning", "add_voice", "cloned_voices")
        if any(part in path for part in speaks) and not any(part in path for part in stt):
            return Family.WAVES_SPEAK
        return Family.WAVES
    return Family.SMALLEST_DEEPGRAM


def body(family: Family, error: VoxmeshError, request_id: str) -> Json:
    """The JSON of an error."""
    if family is Family.OPENAI:
        return {"error": openai_error(error)}
    if family is Family.WAVES:
        shown: Json = {
            "error": error.message,
            "status": "error",
            "message": error.message,
            "request_id": request_id,
        }
        return {**shown, "code": error.code, **_advice(error)}
    if family is Family.WAVES_SPEAK and isinstance(error, InvalidArgument | NotFound):
        name = error.details.get("parameter")
        path = [] if name is None else ["voice_id" if name == "voice" else name]
        issue: Json = {"code": "custom", "path": path, "message": error.message}
        if "options" in error.details:
            issue["options"] = error.details["options"]
        return {"error": [issue], "request_id": request_id}
    deepgram = {
        "err_code": _DEEPGRAM_CODES.get(error.http, error.code),
        "err_msg": error.message,
        "request_id": request_id,
    }
    return {"error": error.message, "code": error.code, **deepgram, **error.details, **_advice(error)}


def openai_error(error: VoxmeshError) -> Json:
    """The inner object that OpenAI clients read, on REST and in realtime events."""
    kind = _OPENAI_TYPES.get(error.http)
    if kind is None:
        kind = "server_error" if error.http >= _HTTP_SERVER_ERROR else "invalid_request_error"
    code = "invalid_api_key" if isinstance(error, Unauthenticated) else error.code.lower()
    return {"message": error.message, "type": kind, "param": error.details.get("parameter"), "code": code}


def headers(error: VoxmeshError, request_id: str) -> dict[str, str]:
    """Headers that go with an error."""
    extra = {"x-request-id": request_id, "dg-request-id": request_id}
    if error.http != 200:
        # A message may quote what the client wrote; a header holds printable ASCII only.
        extra["dg-error"] = "".join(char if " " <= char <= "~" else "?" for char in error.message[:200])
    if error.retry_after_s is not None:
        extra["Retry-After"] = str(math.ceil(error.retry_after_s))
    return extra


def _advice(error: VoxmeshError) -> Json:
    return {} if error.retry_after_s is None else {"retry_after": math.ceil(error.retry_after_s)}

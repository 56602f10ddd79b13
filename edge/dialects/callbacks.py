"""Answers that come later, as each dialect asks for and words them, without I/O.

Smallest: `callback_url` -> {"job_id", "status"}, later {"job_id", "status", "result" | "error"}.
Deepgram: `callback` (and `callback_method`) -> {"request_id"}, later the usual body.
Waves: `webhook_url`, `webhook_method`, `webhook_extra` -> {"status", "request_id"}, later the usual body.
"""

from dataclasses import dataclass, field
from typing import Literal

from common.errors import InvalidArgument, VoxmeshError
from edge.values import Fields, Json, choice, string

MAX_URL_CHARS = 2_048
_DEEPGRAM_PART = ("metadata", "results")  # of the body that both dialects of one path read
METHODS = {"post": "POST", "put": "PUT", "get": "GET"}


@dataclass(frozen=True, slots=True)
class Callback:
    """Where and how an answer is wanted."""

    style: Literal["smallest", "deepgram", "waves"]
    url: str
    method: str = "POST"
    extra: Json = field(default_factory=dict)

    def accepted(self, request_id: str) -> Json:
        """What is answered at once."""
        if self.style == "smallest":
            return {"job_id": request_id, "status": "processing", "request_id": request_id}
        if self.style == "waves":
            return {"status": "processing", "request_id": request_id}
        return {"request_id": request_id}

    def completed(self, request_id: str, body: Json) -> Json:
        """What is sent when it is done."""
        if self.style == "smallest":
            result = {name: value for name, value in body.items() if name not in _DEEPGRAM_PART}
            return {"job_id": request_id, "status": "completed", "result": result}
        return {**body, **({"webhook_extra": self.extra} if self.extra else {})}

    def failed(self, request_id: str, error: VoxmeshError) -> Json:
        """What is sent when it cannot be done."""
        if self.style == "smallest":
            return {"job_id": request_id, "status": "failed", "error": error.message, "code": error.code}
        if self.style == "waves":
            told: Json = {"status": "error", "request_id": request_id, "error": error.message}
            return {**told, **({"webhook_extra": self.extra} if self.extra else {})}
        return {"request_id": request_id, "err_code": error.code, "err_msg": error.message}


def asked(fields: Fields, styles: tuple[str, ...] = ("smallest", "deepgram", "waves")) -> Callback | None:
    """The callback that a request asks for, if it does, in one of these styles; raises InvalidArgument."""
    if "smallest" in styles and (url := string(fields, "callback_url", max_chars=MAX_URL_CHARS)):
        return Callback("smallest", url)
    if "deepgram" in styles and (url := string(fields, "callback", max_chars=MAX_URL_CHARS)):
        method = choice(fields, "callback_method", "post", {"post": "POST", "put": "PUT"})
        return Callback("deepgram", url, method)
    if "waves" in styles and (url := string(fields, "webhook_url", max_chars=MAX_URL_CHARS)):
        return Callback("waves", url, choice(fields, "webhook_method", "post", METHODS), _extra(fields))
    return None


def _extra(fields: Fields) -> Json:
    found: Json = {}
    for entry in string(fields, "webhook_extra").split(","):
        name, colon, value = entry.partition(":")
        if entry.strip() and not (colon and name.strip()):
            raise InvalidArgument("webhook_extra must be `key:value,key:value`", parameter="webhook_extra")
        if name.strip():
            found[name.strip()] = value.strip()
    return found

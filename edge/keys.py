"""Where clients put their key, and which keys are good."""

import hashlib
import time
from collections.abc import Mapping

from common.clients import LicenseClient
from common.errors import LicenseExpired, Unauthenticated
from common.pb.voxmesh.license.v1 import LicenseState, ValidateRequest

_SCHEMES = ("token", "bearer")
_QUERY_NAMES = ("token", "api_key")
_OPENAI_PROTOCOL = "openai-insecure-api-key."
_MAX_KEY_CHARS = 8_192


def find_key(headers: Mapping[str, str], query: Mapping[str, str]) -> str:
    """The key of a request: Authorization with Token or Bearer, the query, or a WebSocket sub-protocol.

    Raises:
        Unauthenticated: there is none.
    """
    scheme, _, value = headers.get("Authorization", "").strip().partition(" ")
    candidates = [value.strip() if scheme.lower() in _SCHEMES else ""]
    candidates += [headers.get("X-API-Key", "").strip()]
    candidates += [query.get(name, "").strip() for name in _QUERY_NAMES]
    candidates += [_sub_protocol(headers)[0]]
    key = next((candidate for candidate in candidates if candidate), "")
    if not key:
        raise Unauthenticated("Missing license key: send it as `Authorization: Token <key>`")
    if len(key) > _MAX_KEY_CHARS or not key.isascii() or not key.isprintable():
        raise Unauthenticated("Invalid license key")
    return key


def accepted_protocol(headers: Mapping[str, str]) -> tuple[str, ...]:
    """The sub-protocol to echo: the name in front of the key, never the key."""
    name = _sub_protocol(headers)[1]
    return (name,) if name else ()


def _sub_protocol(headers: Mapping[str, str]) -> tuple[str, str]:
    offered = [part.strip() for part in headers.get("Sec-WebSocket-Protocol", "").split(",")]
    if len(offered) >= 2 and offered[0].lower() in _SCHEMES:
        return offered[1], offered[0]
    for part in offered:
        if part.startswith(_OPENAI_PROTOCOL):
            return part.removeprefix(_OPENAI_PROTOCOL), "realtime" if "realtime" in offered else ""
    return "", "realtime" if "realtime" in offered else ""


class KnownKeys:
    """Asks the licence service whether a key is good and remembers a good answer for a little while."""

    GOOD_FOR_S = 30.0
    MAX_KEYS = 1_024
    TIMEOUT_S = 3.0

    def __init__(self, client: LicenseClient) -> None:
        self._client = client
        self._good: dict[bytes, float] = {}  # digest of the key -> when it is asked for again

    async def check(self, key: str) -> None:
        """Raises Unauthenticated or LicenseExpired; Unavailable when nobody can say."""
        digest = hashlib.sha256(key.encode()).digest()
        if self._good.get(digest, 0.0) > time.monotonic():
            return
        answer = await self._client.validate(ValidateRequest(key=key), timeout=self.TIMEOUT_S)
        if answer.state == LicenseState.EXPIRED:
            raise LicenseExpired("License expired")
        if answer.state not in (LicenseState.VALID, LicenseState.GRACE):
            raise Unauthenticated("Invalid license key")
        if len(self._good) >= self.MAX_KEYS:
            self._good.clear()
        self._good[digest] = time.monotonic() + self.GOOD_FOR_S

"""Licence keys: signed documents that can be checked without asking anybody.

A key is text, `vx1.<payload>.<signature>`: both parts base64url without padding (RFC 4648, 5), the payload JSON,
the signature Ed25519 (RFC 8032) over everything before the last dot.
"""

import base64
import binascii
import json
import re
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from common.errors import InvalidArgument, Unauthenticated

PREFIX = "vx1"
MAX_KEY_CHARS = 4096
ALL_FEATURES = ("asr", "tts", "streaming")
KEY_ID = re.compile(r"[A-Za-z0-9_-]{4,32}")

_KEY = re.compile(rf"{PREFIX}\.(?P<payload>[A-Za-z0-9_-]+)\.(?P<signature>[A-Za-z0-9_-]+)")
_MAX_LIMIT = 2**63 - 1  # what the ledger can count


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a licence; 0 is no limit. Meaning of each: proto/voxmesh/license/v1."""

    max_concurrent: int = 0
    requests_per_minute: int = 0
    audio_ms_per_day: int = 0
    max_request_bytes: int = 0
    max_audio_ms: int = 0


@dataclass(frozen=True, slots=True)
class License:
    """What a key says.

    Attributes:
        key_id: short public name, safe in logs.
        customer: who it was issued to.
        features: what it allows.
        issued_ms: Unix time.
        expires_ms: Unix time; 0 never ends.
    """

    key_id: str
    customer: str
    features: tuple[str, ...]
    issued_ms: int
    expires_ms: int = 0
    limits: Limits = field(default_factory=Limits)

    def expired(self, now_ms: int) -> bool:
        return self.expires_ms != 0 and now_ms >= self.expires_ms


def new_key_id() -> str:
    return f"k{secrets.token_hex(5)}"


def sign(document: License, authority: Ed25519PrivateKey) -> str:
    """The key text of a licence."""
    # Keys are pasted by hand: what is 0 (no limit, no end) goes without saying.
    fields_set = {name: value for name, value in asdict(document).items() if value != 0}
    fields_set["limits"] = {name: limit for name, limit in fields_set["limits"].items() if limit}
    if not fields_set["limits"]:
        del fields_set["limits"]
    payload = json.dumps(fields_set, separators=(",", ":"), ensure_ascii=True).encode()
    signed = f"{PREFIX}.{_encode(payload)}"
    return f"{signed}.{_encode(authority.sign(signed.encode()))}"


def verify(text: str, authorities: Iterable[Ed25519PublicKey]) -> License:
    """Reads a key and checks who signed it; says nothing about its expiry.

    White space anywhere in the text is ignored: keys get wrapped when they are pasted.

    Raises:
        Unauthenticated: empty, not a key, or signed by nobody we trust.
    """
    compact = "".join(text[: 2 * MAX_KEY_CHARS].split())
    if not compact:
        raise Unauthenticated("No license key was given.")
    match = _KEY.fullmatch(compact) if len(compact) <= MAX_KEY_CHARS else None
    if match is None:
        raise Unauthenticated("Invalid license key: it does not look like one (vx1.….…).")
    payload, signature = _decode(match["payload"]), _decode(match["signature"])
    signed = compact.rpartition(".")[0].encode()
    if not any(_is_signed_by(authority, signature, signed) for authority in authorities):
        raise Unauthenticated("Invalid license key: it was not issued for this installation.")
    return _parse(payload)


def read_public_key(text: str) -> Ed25519PublicKey:
    """An authority's public key: 32 bytes in base64 or base64url.

    Raises:
        InvalidArgument: it is none.
    """
    try:
        raw = base64.urlsafe_b64decode(text.strip().replace("+", "-").replace("/", "_").rstrip("=") + "=")
        return Ed25519PublicKey.from_public_bytes(raw)
    except (ValueError, binascii.Error) as error:
        raise InvalidArgument("The public key of a licence authority is 32 bytes in base64.") from error


def public_key_text(key: Ed25519PublicKey) -> str:
    """What `read_public_key` reads."""
    return _encode(key.public_bytes_raw())


def _is_signed_by(authority: Ed25519PublicKey, signature: bytes, signed: bytes) -> bool:
    try:
        authority.verify(signature, signed)
    except InvalidSignature:
        return False
    return True


def _parse(payload: bytes) -> License:
    """Signed, so honest; but an authority can be newer than this code, so unknown fields are let be."""
    try:
        document: dict[str, Any] = json.loads(payload)
        limits = {
            limit.name: _count(document.get("limits", {}).get(limit.name, 0)) for limit in fields(Limits)
        }
        key_id = str(document["key_id"])
        if not KEY_ID.fullmatch(key_id):
            raise ValueError("key id")
        return License(
            key_id=key_id,
            customer=str(document["customer"]),
            features=tuple(str(feature) for feature in document["features"]),
            issued_ms=_count(document.get("issued_ms", 0)),
            expires_ms=_count(document.get("expires_ms", 0)),
            limits=Limits(**limits),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Unauthenticated("Invalid license key: this version cannot read it.") from error


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MAX_LIMIT:
        raise ValueError("not a count")
    return value


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (ValueError, binascii.Error) as error:
        raise Unauthenticated("Invalid license key: it is damaged.") from error

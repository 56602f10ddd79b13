"""Who may do what: from the text of a key to a licence that is good now."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from common.errors import InvalidArgument, LicenseExpired, PermissionDenied, Unauthenticated
from common.pb.voxmesh.license.v1 import Kind, LicenseState
from license.keys import License, verify

_NEEDS: dict[Kind, tuple[str, ...]] = {
    Kind.LISTEN: ("asr",),
    Kind.LISTEN_STREAM: ("asr", "streaming"),
    Kind.SPEAK: ("tts",),
    Kind.SPEAK_STREAM: ("tts", "streaming"),
}


class Gate:
    """Judges keys.

    Args:
        authorities: whose signatures count.
        now_ms: Unix time.
    """

    def __init__(self, authorities: Sequence[Ed25519PublicKey], now_ms: Callable[[], int]) -> None:
        self._authorities = tuple(authorities)
        self._now_ms = now_ms

    def admit(self, key: str) -> License:
        """The licence of a key that is good now.

        Raises:
            Unauthenticated: not a key of ours.
            LicenseExpired: past its end.
        """
        document = verify(key, self._authorities)
        if document.expired(self._now_ms()):
            raise LicenseExpired("License expired", expires_at=rfc3339(document.expires_ms))
        return document

    def standing(self, key: str) -> tuple[LicenseState, License | None]:
        """How a key stands; never raises."""
        try:
            document = verify(key, self._authorities)
        except Unauthenticated:
            return LicenseState.INVALID, None
        expired = document.expired(self._now_ms())
        return LicenseState.EXPIRED if expired else LicenseState.VALID, document


def require_features(document: License, kind: Kind) -> None:
    """Raises PermissionDenied when the licence lacks what this kind of request needs."""
    needed = _NEEDS.get(kind)
    if needed is None:
        raise InvalidArgument("A lease needs a kind.")
    for feature in needed:
        if feature not in document.features:
            raise PermissionDenied(f"The license does not include {feature}.", feature=feature)


def rfc3339(unix_ms: int) -> str:
    """UTC with seconds, e.g. 2030-01-31T00:00:00Z."""
    try:
        moment = datetime.fromtimestamp(unix_ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):  # beyond year 9999
        return "9999-12-31T23:59:59Z"
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")

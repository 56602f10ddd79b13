"""Licences and clocks for tests."""

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from license.keys import ALL_FEATURES, License, Limits


@dataclass
class ManualClock:
    """Milliseconds that pass when a test says so."""

    now_ms: int = 1_000_000

    def __call__(self) -> int:
        return self.now_ms

    def pass_ms(self, ms: int) -> None:
        self.now_ms += ms


AUTHORITY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def make_license(
    key_id: str = "key-1",
    *,
    features: tuple[str, ...] = ALL_FEATURES,
    expires_ms: int = 0,
    max_concurrent: int = 0,
    requests_per_minute: int = 0,
    audio_ms_per_day: int = 0,
    max_audio_ms: int = 0,
) -> License:
    limits = Limits(max_concurrent, requests_per_minute, audio_ms_per_day, max_audio_ms=max_audio_ms)
    return License(key_id, "Example Ltd", features, 1_700_000_000_000, expires_ms, limits)

"""The authority of an installation that needs no account: made on the first start, kept in the state directory."""

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from filelock import FileLock

from common.errors import Internal, Unauthenticated
from common.state import authority_path, license_key_path, make_private_dir, read_license_key, write_private
from license.keys import ALL_FEATURES, License, new_key_id, sign, verify

CUSTOMER = "self-hosted"


@dataclass(frozen=True, slots=True)
class Authority:
    """Signs keys for one installation.

    Attributes:
        private: its key; never leaves the state directory.
        license_key: the one key made with it.
    """

    private: Ed25519PrivateKey
    license_key: str

    @property
    def public(self) -> Ed25519PublicKey:
        return self.private.public_key()

    @property
    def lease_secret(self) -> bytes:
        """32 bytes for signing lease names, the same after every restart."""
        return hashlib.sha256(b"voxmesh lease names\0" + self.private.private_bytes_raw()).digest()


def load_or_create(state_dir: Path) -> Authority:
    """The authority of a state directory. Processes that start at once agree on one.

    Raises:
        Internal: the directory cannot be used, or holds a damaged authority key.
    """
    try:
        make_private_dir(state_dir)
        with FileLock(state_dir / ".authority.lock", mode=0o600):
            private = _load_private(state_dir) or _create_private(state_dir)
            return Authority(
                private, _load_license(state_dir, private) or _create_license(state_dir, private)
            )
    except OSError as error:
        raise Internal(f"The state directory {state_dir} cannot be used ({type(error).__name__}).") from error


def _load_private(state_dir: Path) -> Ed25519PrivateKey | None:
    path = authority_path(state_dir)
    if not path.exists():
        return None
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        # Making a new one would silently void every key that was handed out.
        raise Internal(f"{path} is damaged: restore it, or remove it to begin with new keys.") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise Internal(f"{path} is not an Ed25519 key.")
    return key


def _create_private(state_dir: Path) -> Ed25519PrivateKey:
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_private(authority_path(state_dir), pem)
    return key


def _load_license(state_dir: Path, private: Ed25519PrivateKey) -> str | None:
    """The stored key, unless it is missing, damaged or of an authority that is gone."""
    text = read_license_key(state_dir)
    if text is None:
        return None
    try:
        verify(text, [private.public_key()])
    except Unauthenticated:
        return None
    return text


def _create_license(state_dir: Path, private: Ed25519PrivateKey) -> str:
    document = License(new_key_id(), CUSTOMER, ALL_FEATURES, issued_ms=time.time_ns() // 1_000_000)
    text = sign(document, private)
    write_private(license_key_path(state_dir), f"{text}\n".encode())
    return text

"""Licence keys: what is signed is what is read, and nothing else gets in."""

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from common.errors import InvalidArgument, LicenseExpired, PermissionDenied, Unauthenticated
from common.pb.voxmesh.license.v1 import Kind, LicenseState
from license.gate import Gate, require_features, rfc3339
from license.keys import License, Limits, public_key_text, read_public_key, sign, verify
from tests.fakes.licenses import AUTHORITY, ManualClock, make_license

PUBLIC = [AUTHORITY.public_key()]
KEY = sign(make_license(), AUTHORITY)

counts = st.integers(0, 2**63 - 1)
licenses = st.builds(
    License,
    key_id=st.from_regex(r"[A-Za-z0-9_-]{4,32}", fullmatch=True),
    customer=st.text(max_size=40),
    features=st.lists(st.text(max_size=10), max_size=4).map(tuple),
    issued_ms=counts,
    expires_ms=counts,
    limits=st.builds(Limits, counts, counts, counts, counts, counts),
)


@given(licenses)
def test_what_is_signed_is_what_is_read(document: License) -> None:
    assert verify(sign(document, AUTHORITY), PUBLIC) == document


@pytest.mark.parametrize("text", [f" {KEY}\n", KEY[:40] + "\r\n  " + KEY[40:], f"\t{KEY[:9]} {KEY[9:]}"])
def test_white_space_of_a_paste_does_not_matter(text: str) -> None:
    assert verify(text, PUBLIC) == make_license()


@given(
    st.one_of(st.text(), st.binary().map(lambda data: f"vx1.{base64.urlsafe_b64encode(data).decode()}.AAAA"))
)
def test_garbage_is_unauthenticated_and_not_repeated(text: str) -> None:
    with pytest.raises(Unauthenticated) as caught:
        verify(text, PUBLIC)
    if len(text) > 20:
        assert text not in caught.value.message


@given(st.integers(0, len(KEY) - 2), st.sampled_from("AZaz09-_."))
def test_any_changed_character_is_noticed(position: int, character: str) -> None:
    """The last character is left out: some of its bits are padding."""
    changed = KEY[:position] + character + KEY[position + 1 :]
    if changed != KEY:
        with pytest.raises(Unauthenticated):
            verify(changed, PUBLIC)


@pytest.mark.parametrize(
    "text", ["", "   ", "vx1..", "vx1.e30.e30", KEY + ".x", KEY.replace("vx1", "vx2"), KEY * 20]
)
def test_near_misses_are_unauthenticated(text: str) -> None:
    with pytest.raises(Unauthenticated):
        verify(text, PUBLIC)


def test_another_authority_does_not_count() -> None:
    other = Ed25519PrivateKey.generate()
    with pytest.raises(Unauthenticated, match="not issued for this installation"):
        verify(sign(make_license(), other), PUBLIC)
    assert verify(KEY, [other.public_key(), *PUBLIC]).key_id == "key-1"


@pytest.mark.parametrize(
    "payload",
    [[], 1, {}, {"key_id": "x"}, {"limits": []}, None, "[" * 2000],
)
def test_a_signed_document_of_another_shape_is_refused(payload: object) -> None:
    text = payload if isinstance(payload, str) else json.dumps(payload)
    signed = f"vx1.{base64.urlsafe_b64encode(text.encode()).rstrip(b'=').decode()}"
    signature = base64.urlsafe_b64encode(AUTHORITY.sign(signed.encode())).rstrip(b"=").decode()
    with pytest.raises(Unauthenticated):
        verify(f"{signed}.{signature}", PUBLIC)


def test_public_keys_travel_as_text() -> None:
    text = public_key_text(AUTHORITY.public_key())
    assert read_public_key(f" {text}= ").public_bytes_raw() == AUTHORITY.public_key().public_bytes_raw()
    for bad in ("", "AAAA", "ä" * 43, text[:-4]):
        with pytest.raises(InvalidArgument):
            read_public_key(bad)


def test_a_key_expires_at_its_end_and_not_before() -> None:
    clock = ManualClock(now_ms=1_999)
    gate, key = Gate(PUBLIC, clock), sign(make_license(expires_ms=2_000), AUTHORITY)
    assert gate.admit(key).key_id == "key-1"
    assert gate.standing(key)[0] is LicenseState.VALID
    clock.pass_ms(1)
    with pytest.raises(LicenseExpired) as caught:
        gate.admit(key)
    assert caught.value.details == {"expires_at": "1970-01-01T00:00:02Z"}
    assert gate.standing(key)[0] is LicenseState.EXPIRED
    assert gate.standing("nonsense") == (LicenseState.INVALID, None)


def test_features_are_required_by_kind() -> None:
    document = make_license(features=("asr",))
    require_features(document, Kind.LISTEN)
    for kind in (Kind.LISTEN_STREAM, Kind.SPEAK, Kind.SPEAK_STREAM):
        with pytest.raises(PermissionDenied):
            require_features(document, kind)
    with pytest.raises(InvalidArgument):
        require_features(document, Kind.UNSPECIFIED)


def test_dates_never_overflow() -> None:
    assert rfc3339(0) == "1970-01-01T00:00:00Z"
    assert rfc3339(2**63 - 1) == "9999-12-31T23:59:59Z"

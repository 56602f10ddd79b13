"""The edge's small parts: keys, values, errors, addresses, voices."""

import json

import pytest

from common.errors import BY_CODE, InvalidArgument, NotFound, RateLimited, Unauthenticated
from edge import errors
from edge.errors import Family
from edge.formats import language
from edge.keys import accepted_protocol, find_key
from edge.listening.fetch import is_public
from edge.settings import EdgeSettings
from edge.speaking.voices import resolve_voice
from edge.state.health import Health
from edge.values import boolean, integer, json_object, number, string, strings


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ({"Authorization": "Token k"}, {}),
        ({"Authorization": "bearer   k"}, {}),
        ({"X-API-Key": "k"}, {}),
        ({}, {"token": "k"}),
        ({}, {"api_key": "k"}),
        ({"Sec-WebSocket-Protocol": "token, k"}, {}),
        ({"Sec-WebSocket-Protocol": "realtime, openai-insecure-api-key.k"}, {}),
        ({"Authorization": "Basic xyz"}, {"token": "k"}),
    ],
)
def test_keys_are_found(headers: dict[str, str], query: dict[str, str]) -> None:
    assert find_key(headers, query) == "k"
    assert "k" not in accepted_protocol(headers)


@pytest.mark.parametrize("header", ["", "k", "Token", "Basic k", "Token " + "x" * 9_000])
def test_bad_keys_are_refused(header: str) -> None:
    with pytest.raises(Unauthenticated):
        find_key({"Authorization": header}, {})


@pytest.mark.parametrize(
    "address",
    "127.0.0.1 10.1.2.3 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 0.0.0.0 224.0.0.1 255.255.255.255 ::1 :: "
    "fe80::1 fe80::1%eth0 fc00::1 ff02::1 ::ffff:10.0.0.1 64:ff9b::a00:1 2002:7f00:1:: 198.18.0.1 nonsense".split(),
)
def test_private_addresses(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "64:ff9b::808:808"])
def test_public_addresses(address: str) -> None:
    assert is_public(address)


def test_values() -> None:
    fields = {
        "a": "TRUE",
        "b": False,
        "c": "maybe",
        "n": "1.5",
        "i": "2",
        "l": "a, b,",
        "nan": "nan",
        "t": True,
    }
    assert boolean(fields, "a", False) is True
    assert boolean(fields, "b", True) is False
    assert boolean(fields, "x", True) is True
    assert number(fields, "n", 0, 0, 2) == 1.5
    assert integer(fields, "i", 0, 0, 5) == 2
    assert strings(fields, "l") == ["a", "b"]
    for name in ("c", "n", "nan", "t"):
        with pytest.raises(InvalidArgument, match="whole number|true or false|number from"):
            boolean(fields, name, True) if name == "c" else integer(fields, name, 0, 0, 5)


def test_languages() -> None:
    assert [language({"language": one}) for one in ("en", "en-US", "multi", "", "auto")] == [
        "en",
        "en-US",
        "",
        "",
        "",
    ]
    with pytest.raises(InvalidArgument, match="language code"):
        language({"language": "english, please"})


def test_families_follow_the_path() -> None:
    cases = {
        "/v1/listen": Family.SMALLEST_DEEPGRAM,
        "/v1/speak/stream": Family.SMALLEST_DEEPGRAM,
        "/v1/audio/speech": Family.OPENAI,
        "/v1/models/x": Family.OPENAI,
        "/waves/v1/stt/": Family.WAVES,
        "/waves/v1/pulse/get_text": Family.WAVES,
        "/api/v1/speech-to-text": Family.WAVES,
        "/waves/v1/tts": Family.WAVES_SPEAK,
        "/waves/v1/lightning-v3.1/get_speech": Family.WAVES_SPEAK,
    }
    assert {path: errors.family_of(path) for path in cases} == cases


@pytest.mark.parametrize("family", list(Family))
@pytest.mark.parametrize("kind", sorted(BY_CODE))
def test_every_error_renders_in_every_family(family: Family, kind: str) -> None:
    error = BY_CODE[kind]("what happened", parameter="text")
    body = json.loads(json.dumps(errors.body(family, error, "req_1")))
    assert "what happened" in json.dumps(body)
    assert all("\n" not in value for value in errors.headers(error, "req_1").values())


def test_error_bodies() -> None:
    limited = errors.body(
        Family.SMALLEST_DEEPGRAM, RateLimited("Rate limit exceeded", retry_after_s=59.2), "r"
    )
    assert limited["retry_after"] == 60
    assert limited["error"] == limited["err_msg"]
    [issue] = errors.body(
        Family.WAVES_SPEAK, NotFound("Invalid Voice ID", parameter="voice", options=["a"]), "r"
    )["error"]
    assert issue == {"code": "custom", "path": ["voice_id"], "message": "Invalid Voice ID", "options": ["a"]}
    assert errors.openai_error(Unauthenticated("no"))["code"] == "invalid_api_key"


def test_voices() -> None:
    ours = ["en_US-joe-medium"]
    assert resolve_voice("EN_us-joe-medium", ours) == "en_US-joe-medium"
    assert resolve_voice("aura-2-thalia-en", ours) == ""
    assert resolve_voice("alloy", [*ours, "alloy"]) == "alloy"
    assert resolve_voice("nobody", ours) == "nobody"


def test_health_names_what_is_missing() -> None:
    health = Health(required=("asr", "license"))
    health.serving = {"asr": True, "license": False, "tts": False}
    assert health.brief() == (503, {"status": "unhealthy", "reason": "License service unavailable"})
    health.serving["license"] = True
    assert health.brief() == (200, {"status": "healthy"})
    assert health.detailed("1")[1]["components"]["lightning_tts"] == "unhealthy"
    health.draining = True
    assert health.brief()[0] == 503


def test_settings_read_the_names_of_existing_deployments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_SERVER_PORT", "7200")
    monkeypatch.setenv("LIGHTNING_ASR_BASE_URL", "http://lightning-asr:2233")
    settings = EdgeSettings()
    assert (settings.port, settings.asr_base_url) == (7200, "http://lightning-asr:2233")
    assert settings.max_request_bytes == 100 * 1024 * 1024
    assert settings.max_audio_ms == 2 * 3600 * 1000


def test_half_a_character_is_refused() -> None:
    """JSON can spell it, protobuf cannot carry it."""
    fields = json_object('{"a": "\\ud800", "b": ["x", "\\udfff"]}')
    with pytest.raises(InvalidArgument, match="Unicode"):
        string(fields, "a")
    with pytest.raises(InvalidArgument, match="Unicode"):
        strings(fields, "b")


def test_an_error_header_holds_printable_ascii_only() -> None:
    shown = errors.headers(InvalidArgument("no \r\n\x0b\x00 é\U0001f600 path"), "r")["dg-error"]
    assert shown.isascii() and shown.isprintable() and shown.startswith("no ????") and shown.endswith(" path")


@pytest.mark.parametrize("key", ["k\udc80", "ké", "k\x7f"])
def test_a_key_that_cannot_be_one_is_refused(key: str) -> None:
    with pytest.raises(Unauthenticated, match="Invalid"):
        find_key({"X-API-Key": key}, {})

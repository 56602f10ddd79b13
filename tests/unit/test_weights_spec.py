"""What may name a model."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.weights import BadSpec, catalog, find
from common.weights.spec import parse

DIGEST = "ab" * 32


@pytest.mark.parametrize(
    ("text", "scheme", "location"),
    [
        ("whisper-base", "catalog", "whisper-base"),
        ("  whisper-tiny.en ", "catalog", "whisper-tiny.en"),
        ("pypi:some-weights==1.0", "pypi", "some-weights==1.0"),
        ("file:///models/x%20y", "file", "/models/x y"),
        ("/models/x", "file", "/models/x"),
        (f"https://host/m.tar.gz#sha256={DIGEST}", "https", "https://host/m.tar.gz"),
        ("hf://org/repo@v1/sub", "hf", "org/repo@v1/sub"),
    ],
)
def test_accepts(text: str, scheme: str, location: str) -> None:
    spec = parse(text)
    assert (spec.scheme, spec.location) == (scheme, location)


@pytest.mark.parametrize(
    "text",
    ["", "ftp://host/x", "file://relative", "https://", "https://h/x#md5=1", "https://h/x#sha256=12", "a b",
     "http://example.org/x", "../etc", f"hf://org/repo#sha256={DIGEST}"],
)  # fmt: skip
def test_refuses_with_a_reason(text: str) -> None:
    with pytest.raises(BadSpec) as caught:
        parse(text)
    assert caught.value.http == 400
    assert len(caught.value.message) > 20


@given(st.text(max_size=60))
def test_any_text_is_a_spec_or_a_bad_spec(text: str) -> None:
    try:
        key = parse(text).key
    except BadSpec:
        return
    assert "/" not in key and not key.startswith(".")


def test_secrets_of_a_url_are_not_shown() -> None:
    """Neither in the label nor in an error."""
    spec = parse("https://user:secret@host/model.bin?signature=secret")
    assert "secret" not in spec.label + spec.key
    with pytest.raises(BadSpec) as caught:
        parse("https://user:secret@host/model.bin?signature=secret#md5=1")
    assert "secret" not in caught.value.message


def test_a_url_signed_anew_is_the_same_model() -> None:
    one, two = (parse(f"https://host/m.bin?signature={n}#sha256={DIGEST}") for n in (1, 2))
    assert one.key == two.key


def test_plain_http_is_fine_with_a_hash_or_on_this_machine() -> None:
    assert parse(f"http://example.org/x#sha256={DIGEST}").sha256 == DIGEST
    assert parse("http://127.0.0.1:8000/x").scheme == "https"


def test_catalogue_is_complete() -> None:
    """Every entry can be verified, and its parts name one pinned wheel each."""
    names = {"whisper-base", "whisper-tiny.en", "en_US-joe-medium", "kokoro-ja", "speaker-ge2e"}
    assert set(catalog()) == names
    for entry in catalog().values():
        assert entry.kind in ("asr", "tts", "speaker") and entry.licence
        assert bool(entry.languages) == (entry.kind != "speaker")
        assert bool(entry.voices) == (entry.kind == "tts")
        for file in entry.files:
            assert len(file.sha256) == 64 and file.size > 0
            assert all(parse(part.source).scheme == "pypi" and "==" in part.source for part in file.parts)


def test_an_unknown_name_suggests_a_near_one() -> None:
    with pytest.raises(BadSpec, match="Did you mean whisper-base"):
        find("wisper-base")
    assert find("base") is find("whisper-base")

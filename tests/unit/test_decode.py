"""The quick reader of messages says what betterproto2's own says, whatever the bytes are."""

import struct
from typing import Any

import betterproto2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.decode import decode
from common.pb.voxmesh.asr import v1 as asr
from common.pb.voxmesh.license import v1 as license_
from common.pb.voxmesh.session import v1 as session
from common.pb.voxmesh.tts import v1 as tts

KINDS: list[Any] = [
    kind
    for module in (asr, tts, license_, session)
    for kind in vars(module).values()
    if isinstance(kind, type)
    and issubclass(kind, betterproto2.Message)
    and kind.__module__ == module.__name__
]


def outcome(read: Any, kind: Any, data: bytes) -> object:
    try:
        message = read(kind, data)
    except Exception as error:
        return type(error)
    return vars(message)


def same(kind: Any, data: bytes) -> None:
    assert repr(outcome(decode, kind, data)) == repr(outcome(lambda k, d: k.parse(d), kind, data))


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, wire_type: int, body: bytes, value: int) -> bytes:
    tag = varint(number << 3 | wire_type)
    if wire_type == 0:
        return tag + varint(value)
    if wire_type == 1:
        return tag + struct.pack("<Q", value)
    if wire_type == 5:
        return tag + struct.pack("<I", value & 0xFFFFFFFF)
    return tag + varint(len(body)) + body


VALUES = st.one_of(st.integers(0, 200), st.integers(0, 2**64 - 1))


@st.composite
def wires(draw: st.DrawFn, kind: Any, depth: int = 0) -> bytes:
    """Bytes of fields that the class has, and now and then of some that it has not or of another type."""
    parts = []
    meta = kind._betterproto
    for name in draw(st.lists(st.sampled_from(sorted(meta.meta_by_field_name) or [""]), max_size=6)):
        if not name:
            continue
        known = meta.meta_by_field_name[name]
        inner, wire_type = meta.cls_by_field.get(name), 2
        if known.proto_type == betterproto2.TYPE_MESSAGE:
            body = draw(wires(inner, depth + 1)) if depth < 3 else b""
        elif known.proto_type == betterproto2.TYPE_STRING:
            body = draw(st.text(max_size=5)).encode()
        elif known.proto_type == betterproto2.TYPE_BYTES:
            body = draw(st.binary(max_size=200))
        else:
            body = b"".join(map(varint, draw(st.lists(VALUES, max_size=3))))
            wire_type = 2 if known.repeated else {"float": 5, "double": 1}.get(known.proto_type, 0)
        if draw(st.integers(0, 30)) == 0:
            wire_type = draw(st.sampled_from([0, 1, 2, 5]))
        number = known.number if draw(st.integers(0, 30)) else draw(st.integers(1, 40))
        parts.append(field(number, wire_type, body, draw(VALUES)))
    return b"".join(parts)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_message_reads_the_same(kind: Any) -> None:
    @settings(max_examples=30)
    @given(wires(kind), st.integers(0, 12))
    def check(data: bytes, cut: int) -> None:
        same(kind, data)
        same(kind, data[: len(data) - cut])

    check()


@given(st.sampled_from(KINDS), st.binary(max_size=40))
def test_nonsense_reads_the_same(kind: Any, data: bytes) -> None:
    same(kind, data)


def test_what_is_usual_does_not_need_betterproto2(monkeypatch: pytest.MonkeyPatch) -> None:
    words = [asr.Word(text="a", start_ms=300, end_ms=70_000, confidence=0.5, speaker=2)]
    result = asr.Result(is_final=True, text="ä", words=words, tokens=[1, 50_000], avg_logprob=-0.5)
    message = asr.RecognizeResponse(result=result)
    wire = bytes(message)
    monkeypatch.setattr(betterproto2.Message, "parse", None)
    assert decode(asr.RecognizeResponse, wire) == message

"""Wyoming's frames: whole whatever pieces they come in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import InvalidArgument
from edge.dialects import wyoming
from edge.dialects.wyoming import MAX_LINE_BYTES, Event, Framer

EVENTS = [
    Event("audio-start", {"rate": 16_000, "width": 2, "channels": 1}),
    Event("audio-chunk", {"rate": 16_000, "note": "ünï\n"}, b'\n{"type":"x"}\n\0'),
    Event("audio-stop"),
]


@given(st.lists(st.integers(0, 400), max_size=8))
def test_frames_come_in_any_pieces(cuts: list[int]) -> None:
    stream = b"".join(wyoming.encode(event) for event in EVENTS)
    framer, found, at = Framer(), list[Event](), 0
    for cut in [*sorted(cuts), len(stream)]:
        found += framer.feed(stream[at:cut])
        at = max(at, cut)
    assert found == EVENTS


def test_data_beside_the_head_wins() -> None:
    line = b'{"type":"transcribe","data":{"a":1,"b":1},"data_length":7}\n{"b":2}'
    assert list(Framer().feed(line)) == [Event("transcribe", {"a": 1, "b": 2})]


@given(st.binary(max_size=200))
def test_any_bytes_are_frames_or_refused(data: bytes) -> None:
    try:
        list(Framer().feed(data))
    except InvalidArgument:
        pass


def test_a_line_without_end_is_refused_before_it_fills_the_memory() -> None:
    framer = Framer()
    with pytest.raises(InvalidArgument, match="line"):
        for _ in range(MAX_LINE_BYTES // 1_024 + 1):
            list(framer.feed(b"x" * 1_024))

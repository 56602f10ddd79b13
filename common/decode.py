"""Generated messages out of bytes, many times faster than betterproto2 reads them itself.

What a message class looks like is worked out once. Anything out of the ordinary (unknown fields, wire types that do not
match, maps, wrappers, bytes that end too soon) is left to betterproto2, so the outcome is the same in every case.
"""

import struct
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar, cast

import betterproto2

Message = TypeVar("Message", bound=betterproto2.Message)

_VARINT, _FIXED_64, _LENGTH, _FIXED_32 = 0, 1, 2, 5
_FIXED = {
    betterproto2.TYPE_DOUBLE: (_FIXED_64, struct.Struct("<d")),
    betterproto2.TYPE_FIXED64: (_FIXED_64, struct.Struct("<Q")),
    betterproto2.TYPE_SFIXED64: (_FIXED_64, struct.Struct("<q")),
    betterproto2.TYPE_FLOAT: (_FIXED_32, struct.Struct("<f")),
    betterproto2.TYPE_FIXED32: (_FIXED_32, struct.Struct("<I")),
    betterproto2.TYPE_SFIXED32: (_FIXED_32, struct.Struct("<i")),
}


def decode(kind: type[Message], data: bytes) -> Message:
    """The message, as `kind.parse(data)` has it."""
    try:
        return cast(Message, _plan(kind).read(data, 0, len(data)))
    except (_Odd, LookupError, UnicodeDecodeError, struct.error):
        return kind.parse(data)


class _Odd(Exception):
    """Not what the plan is made for."""


class _Plan:
    """How the messages of one class are read."""

    def __init__(self, kind: type[betterproto2.Message]) -> None:
        self._kind = kind
        self._plain: dict[str, Any] = {}
        self._lists: list[str] = []
        # Tag to the field's name, how its value is read, and whether it repeats.
        self._fields: dict[int, tuple[str, Callable[[bytes, int, int], tuple[Any, int]], bool]] = {}
        self._strange = kind.__post_init__ is not betterproto2.Message.__post_init__
        meta: Any = cast(Any, kind)._betterproto
        for name, field in meta.meta_by_field_name.items():
            self._plain[name] = meta.default_gen[name]()
            if field.repeated:
                self._lists.append(name)
            self._strange = self._strange or bool(field.map_meta or field.unwrap)
            wire_type, read = _reader(field.proto_type, meta.cls_by_field.get(name))
            packs = field.repeated and wire_type != _LENGTH
            if packs:
                wire_type, read = _LENGTH, _packed(read)
            self._fields[field.number << 3 | wire_type] = (name, read, bool(field.repeated) and not packs)
        self._plain["_unknown_fields"] = b""

    def read(self, data: bytes, at: int, end: int) -> betterproto2.Message:
        if self._strange:
            raise _Odd
        message = object.__new__(self._kind)
        values = message.__dict__
        values.update(self._plain)
        for name in self._lists:
            values[name] = []
        fields = self._fields
        while at < end:
            tag = data[at]
            at += 1
            if tag > 0x7F:
                tag, at = _varint(data, at - 1, end)
            name, read, repeats = fields[tag]
            value, at = read(data, at, end)
            if repeats:
                values[name].append(value)
            elif type(value) is _Packed:
                values[name].extend(value)
            else:
                values[name] = value
        if at != end:
            raise _Odd
        return message


class _Packed(list[Any]):
    """Several values of a repeated field in one."""


@cache
def _plan(kind: type[betterproto2.Message]) -> _Plan:
    return _Plan(kind)


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 64:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise _Odd


def _length(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Where a value with a length begins and ends."""
    if at >= end:
        raise _Odd
    size = data[at]
    at += 1
    if size > 0x7F:
        size, at = _varint(data, at - 1, end)
    if at + size > end:
        raise _Odd
    return at, at + size


_Read = Callable[[bytes, int, int], tuple[Any, int]]


def _reader(proto_type: str, kind: Any) -> tuple[int, _Read]:
    """Wire type and reader of a single value."""
    if proto_type in _FIXED:
        wire_type, layout = _FIXED[proto_type]
        return wire_type, lambda data, at, end: (layout.unpack_from(data, at)[0], at + layout.size)
    if proto_type == betterproto2.TYPE_STRING:
        return _LENGTH, _string
    if proto_type == betterproto2.TYPE_BYTES:
        return _LENGTH, _bytes
    if proto_type == betterproto2.TYPE_MESSAGE:
        return _LENGTH, lambda data, at, end: _message(kind, data, at, end)
    return _VARINT, _number(proto_type, kind)


def _string(data: bytes, at: int, end: int) -> tuple[str, int]:
    begin, stop = _length(data, at, end)
    return str(data[begin:stop], "utf-8"), stop


def _bytes(data: bytes, at: int, end: int) -> tuple[bytes, int]:
    begin, stop = _length(data, at, end)
    return data[begin:stop], stop


def _message(kind: type[betterproto2.Message], data: bytes, at: int, end: int) -> tuple[Any, int]:
    begin, stop = _length(data, at, end)
    return _plan(kind).read(data, begin, stop), stop


def _number(proto_type: str, kind: Any) -> _Read:
    mask = (1 << (32 if proto_type in _SHORT else 64)) - 1
    sign = mask // 2 + 1

    def unsigned(data: bytes, at: int, end: int) -> tuple[int, int]:
        value, at = _varint(data, at, end)
        return value & mask, at

    def signed(data: bytes, at: int, end: int) -> tuple[int, int]:
        value, at = _varint(data, at, end)
        return ((value & mask) ^ sign) - sign, at

    def zigzag(data: bytes, at: int, end: int) -> tuple[int, int]:
        value, at = _varint(data, at, end)
        value &= mask
        return (value >> 1) ^ -(value & 1), at

    def truth(data: bytes, at: int, end: int) -> tuple[bool, int]:
        value, at = _varint(data, at, end)
        return value > 0, at

    def member(data: bytes, at: int, end: int) -> tuple[Any, int]:
        value, at = signed(data, at, end)
        return kind(value), at

    if proto_type == betterproto2.TYPE_BOOL:
        return truth
    if proto_type == betterproto2.TYPE_ENUM:
        return member
    if proto_type in (betterproto2.TYPE_UINT32, betterproto2.TYPE_UINT64):
        return unsigned
    if proto_type in (betterproto2.TYPE_SINT32, betterproto2.TYPE_SINT64):
        return zigzag
    return signed


_SHORT = (betterproto2.TYPE_INT32, betterproto2.TYPE_UINT32, betterproto2.TYPE_SINT32)


def _packed(read: _Read) -> _Read:
    def several(data: bytes, at: int, end: int) -> tuple[_Packed, int]:
        at, stop = _length(data, at, end)
        values = _Packed()
        while at < stop:
            value, at = read(data, at, stop)
            values.append(value)
        if at != stop:
            raise _Odd
        return values, stop

    return several

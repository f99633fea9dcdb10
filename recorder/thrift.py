"""Thrift's compact protocol, as far as footers and page headers of Parquet need it: structs of numbers, texts, lists.

A struct is {field id: (type, value)}, or its bytes; a list (type of its elements, elements). Whoever reads one and
writes it again has the same bytes.
"""

from __future__ import annotations

from typing import Any, Final

from engine.core.pages import struct_end

__all__ = ["BINARY", "I16", "I32", "I64", "LIST", "STRUCT", "TRUE", "Struct", "decode", "encode"]

Struct = dict[int, tuple[int, Any]]

TRUE: Final = 1
FALSE: Final = 2
BYTE: Final = 3
I16: Final = 4
I32: Final = 5
I64: Final = 6
DOUBLE: Final = 7
BINARY: Final = 8
LIST: Final = 9
SET: Final = 10
STRUCT: Final = 12
_DEEPEST: Final = 16


def encode(struct: Struct) -> bytes:
    """The bytes of a struct."""
    out = bytearray()
    _put_struct(out, struct)
    return bytes(out)


def decode(data: bytes, deepest: int = _DEEPEST) -> tuple[Struct, int]:
    """The struct that some bytes begin with, and how many these are.

    Args:
        data: the bytes.
        deepest: structs that lie in more lists and structs than this are left as their bytes.

    Raises:
        ValueError: they are none, or structs lie in each other too deeply.
    """
    reader = _Reader(data, deepest)
    try:
        return reader.struct(0), reader.at
    except IndexError:
        raise ValueError("found a struct that ends too early") from None


def _put_varint(out: bytearray, value: int) -> None:
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def _zigzag(value: int) -> int:
    return value << 1 if value >= 0 else ~(value << 1)


def _put_struct(out: bytearray, struct: Struct) -> None:
    before = 0
    for field, (type_, value) in sorted(struct.items()):
        told = type_ if type_ != TRUE and type_ != FALSE else TRUE if value else FALSE
        if 0 < field - before <= 15:
            out.append(field - before << 4 | told)
        else:
            out.append(told)
            _put_varint(out, _zigzag(field))
        if told not in (TRUE, FALSE):
            _put(out, type_, value)
        before = field
    out.append(0)


def _put(out: bytearray, type_: int, value: Any) -> None:
    if type_ in (I16, I32, I64):
        _put_varint(out, _zigzag(value))
    elif type_ == BINARY:
        _put_varint(out, len(value))
        out += value
    elif type_ in (LIST, SET):
        of, elements = value
        if len(elements) < 15:
            out.append(len(elements) << 4 | of)
        else:
            out.append(0xF0 | of)
            _put_varint(out, len(elements))
        for element in elements:
            _put(out, of, element)
    elif type_ == STRUCT:
        if isinstance(value, bytes):
            out += value
        else:
            _put_struct(out, value)
    elif type_ in (TRUE, FALSE):  # in a list
        out.append(TRUE if value else FALSE)
    elif type_ == BYTE:
        out.append(value & 0xFF)
    elif type_ == DOUBLE:
        out += value
    else:
        raise ValueError(f"found type {type_}, which Parquet doesn't use")


class _Reader:
    def __init__(self, data: bytes, deepest: int) -> None:
        self.data = data
        self.at = 0
        self._deepest = deepest

    def byte(self) -> int:
        value = self.data[self.at]
        self.at += 1
        return value

    def bytes_(self, count: int) -> bytes:
        if count > len(self.data) - self.at:
            raise IndexError
        value = self.data[self.at : self.at + count]
        self.at += count
        return value

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 63:
                raise ValueError("found a number of more than 64 bits")

    def number(self) -> int:
        value = self.varint()
        return value >> 1 ^ -(value & 1)

    def struct(self, depth: int) -> Struct:
        out: Struct = {}
        field = 0
        while head := self.byte():
            type_ = head & 0xF
            field = field + (head >> 4) if head >> 4 else self.number()
            out[field] = (
                (TRUE, type_ == TRUE) if type_ in (TRUE, FALSE) else (type_, self.value(type_, depth))
            )
        return out

    def value(self, type_: int, depth: int) -> Any:
        if type_ in (I16, I32, I64):
            return self.number()
        if type_ == BINARY:
            return self.bytes_(self.varint())
        if type_ in (LIST, SET):
            head = self.byte()
            count = head >> 4 if head >> 4 != 15 else self.varint()
            if count > len(self.data) - self.at:
                raise IndexError
            return head & 0xF, [self.value(head & 0xF, depth + 1) for _ in range(count)]
        if type_ == STRUCT:
            if depth + 1 <= self._deepest:
                return self.struct(depth + 1)
            end = struct_end(self.data, self.at)
            if end < 0:
                raise ValueError("found a struct that is none, ends too early, or lies too deep")
            return self.bytes_(end - self.at)
        if type_ in (TRUE, FALSE):
            return self.byte() == TRUE
        if type_ == BYTE:
            return self.byte()
        if type_ == DOUBLE:
            return self.bytes_(8)
        raise ValueError(f"found type {type_}, which Parquet doesn't use")

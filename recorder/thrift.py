"""Thrift's compact protocol, as far as footers and page headers of Parquet need it: structs of numbers, texts, lists.

A struct is {field id: (type, value)}, or its bytes; a list (type of its elements, elements). Whoever reads one and
writes it again has the same bytes.
"""

from __future__ import annotations

from typing import Any, Final

from engine.core.pages import struct_bytes, struct_end

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
    return struct_bytes(struct)


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
            shift += 7
            if value >= 1 << 64 or (byte >= 0x80 and shift > 63):
                raise ValueError("found a number of more than 64 bits")
            if byte < 0x80:
                return value

    def number(self) -> int:
        value = self.varint()
        return value >> 1 ^ -(value & 1)

    def struct(self, depth: int) -> Struct:
        out: Struct = {}
        field = 0
        while head := self.byte():
            type_ = head & 0xF
            field = field + (head >> 4) if head >> 4 else self.number()
            if not -(2**15) <= field < 2**15:
                raise ValueError(f"found field {field}, expected one of 16 bits")
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

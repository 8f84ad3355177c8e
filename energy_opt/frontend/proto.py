"""The protobuf wire format over bytes that may be anything: fields in, or an error with an offset.

Source: protobuf encoding specification, https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from typing import Final

from energy_opt.errors import EnergyOptError

Buffer = bytes | mmap.mmap

VARINT, FIXED64, DELIMITED, FIXED32 = 0, 1, 2, 5

# Looked at one by one; 100,000 nodes with metadata have a million. It bounds the time to some seconds.
MAX_FIELDS: Final = 5_000_000
_WINDOW = 2**24


class WireError(EnergyOptError):
    """Bytes that are not an ONNX model; `offset` says where in the file."""

    def __init__(self, offset: int, reason: str, *, ends_early: bool = False) -> None:
        super().__init__(reason)
        self.offset = offset
        self.reason = reason
        self.ends_early = ends_early


class Reader:
    """Reads fields from a serialized message; no byte of a field's body is touched."""

    def __init__(self, data: Buffer) -> None:
        self.data = data
        self._fields = 0

    def field(self, at: int, end: int) -> tuple[int, int, int, int]:
        """The field at a position: its number, wire type, start of its body, end.

        Raises: WireError unless it is whole and lies before `end`.
        """
        data = self.data
        self._fields += 1
        if self._fields > MAX_FIELDS:
            raise WireError(at, f"more than {MAX_FIELDS:,} fields; no real model is cut so fine")
        key = data[at]
        body = at + 1
        if key > 127:
            key, body = self.varint(at, end)
        wire = key & 7
        if wire == DELIMITED:
            if body < end and data[body] < 128:
                length = data[body]
                body += 1
            else:
                length, body = self.varint(body, end)
            stop = body + length
        elif wire == VARINT:
            stop = self.varint(body, end)[1]
        elif wire == FIXED32:
            stop = body + 4
        elif wire == FIXED64:
            stop = body + 8
        else:
            raise WireError(at, f"wire type {wire}, which ONNX never uses")
        if not 0 < key >> 3 < 2**29:
            raise WireError(at, f"field number {key >> 3} does not exist")
        if stop > end:
            raise self._past_end(at, stop, end)
        return key >> 3, wire, body, stop

    def walk(self, start: int, end: int) -> Iterator[tuple[int, int, int, int, int]]:
        """The fields of a message: number, wire type, start, start of the body, end."""
        while start < end:
            field, wire, body, stop = self.field(start, end)
            yield field, wire, start, body, stop
            start = stop

    def varint(self, at: int, end: int) -> tuple[int, int]:
        """The unsigned 64-bit number at a position, and where it ends."""
        data = self.data
        value = shift = 0
        for i in range(at, min(at + 10, end)):
            byte = data[i]
            value |= (byte & 127) << shift
            if byte < 128:
                return value & (2**64 - 1), i + 1
            shift += 7
        if at + 10 <= end:
            raise WireError(at, "a number longer than 10 bytes")
        raise self._past_end(at, end + 1, end)

    def unpacked(self, field: int, wire: int, at: int, end: int) -> int:
        """The end of a run of one-element fields of a number below 16, found without a loop.

        Only such a run costs a look at every byte of a payload; its pages are handed back at once.
        """
        element = {VARINT: rb"[\x80-\xff]{0,9}[\x00-\x7f]", FIXED64: rb".{8}", FIXED32: rb".{4}"}
        tag = re.escape(bytes([field << 3 | wire]))
        run = re.compile(b"(?:" + tag + element[wire] + b")*+", re.DOTALL)
        while (found := run.match(self.data, at, min(end, at + _WINDOW))) and found.end() > at:
            if found.end() - at > _WINDOW // 2:
                forget(self.data, at, found.end())
            at = found.end()
        return at

    def _past_end(self, at: int, stop: int, end: int) -> WireError:
        if end == len(self.data):
            missing = f"at least {stop - end:,} bytes are missing"
            return WireError(at, f"the file ends inside a field ({missing})", ends_early=True)
        reason = f"a field of {stop - at:,} bytes in a message that has {end - at:,} left"
        return WireError(at, reason)


def forget(data: Buffer, start: int, end: int) -> None:
    """Hand the pages of a mapped file back to the system; they can be read again."""
    if isinstance(data, mmap.mmap) and hasattr(data, "madvise"):
        first = start // mmap.PAGESIZE * mmap.PAGESIZE
        data.madvise(mmap.MADV_DONTNEED, first, end - first)


def varint(value: int) -> bytes:
    """A non-negative number as protobuf writes it."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def delimited(field: int, body: bytes) -> bytes:
    """A whole field of bytes, text or a message."""
    return varint(field << 3 | DELIMITED) + varint(len(body)) + body

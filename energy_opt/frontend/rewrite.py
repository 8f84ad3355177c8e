"""A serialized model rewritten without its weights, which are never read.

Knowing the length of everything large, a reader can step over gigabytes of weights by arithmetic.
`Rewriter` copies the small parts of a mapped file as they are, descends only into what can hold a
large tensor, and puts a marker where each payload was. Source: field numbers of onnx.proto, IR 13.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from energy_opt.frontend.proto import (
    DELIMITED,
    VARINT,
    Buffer,
    Reader,
    WireError,
    delimited,
    forget,
    varint,
)

# Which fields of a message hold messages that can hold a tensor; the rows from "value" on hold none
# and are there for finding damage. A second occurrence of a singular one would merge into the first.
_CHILDREN: Final[dict[str, dict[int, str]]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse", 11: "value", 12: "value", 13: "value"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "function": {7: "node", 11: "attribute"},
    "training": {1: "graph", 2: "graph"},
    "value": {2: "type"},
    "type": {1: "tensor type", 4: "sequence type", 5: "map type", 9: "sequence type"},
    "sequence type": {1: "type"},
    "map type": {2: "type"},
    "tensor type": {2: "shape"},
    "shape": {1: "dimension"},
    "dimension": {},
}
_SINGULAR: Final[dict[str, frozenset[int]]] = {
    "model": frozenset({7}),
    "attribute": frozenset({5, 6, 22}),
    "sparse": frozenset({1, 2}),
    "training": frozenset({1, 2}),
}
_PAYLOADS: Final[dict[int, str]] = {
    4: "float_data",
    5: "int32_data",
    6: "string_data",
    7: "int64_data",
    9: "raw_data",
    10: "double_data",
    11: "uint64_data",
}
_DATA_TYPE, _EXTERNAL_DATA, _DATA_LOCATION, _STRING_DATA = 2, 13, 14, 6
_ATTRIBUTE_BYTES = 4  # AttributeProto.s: compiled engines (com.microsoft EPContext) hide here
_NODE_DOC, _NODE_METADATA = 6, 9
_TRACES: Final = re.compile(rb"\x0a[\x00-\x7f]pkg\.torch\.onnx\.(?:stack_trace|fx_node)\x12")

# A tag of field 14 (also one written longer than needed) and a value whose low bits say EXTERNAL: a
# tensor that names a file contains this. By chance others do too, and are looked into for nothing.
_SAYS_EXTERNAL: Final = re.compile(rb"(?:\x70|\xf0\x80{0,8}\x00)[\x01\x81]")

MAX_DEPTH: Final = 100  # nested messages, the limit of protobuf itself: 33 subgraphs
MAX_GRAPH_BYTES: Final = 256 * 2**20
MAX_TINY: Final = 5_000_000  # fields of up to 15 bytes; a graph of 100,000 nodes has a million
BLOB_BYTES: Final = 2**20
TRACE_BYTES: Final = 256
_LARGE_BYTES = 2**22

OMITTED: Final = "omitted-by-energy-opt:"
STRIPPED: Final = "stripped-by-energy-opt"


@dataclass(frozen=True, slots=True)
class WeightPlace:
    """Where the bytes of a tensor are that were not read.

    `field` is the payload's protobuf field (`raw_data`, `float_data`, ...: the packed bytes lie at
    `offset`), `tensor` (the whole TensorProto lies there, its payload being in pieces), `attribute`
    (a bytes attribute), `external` (`file` is what the model declares: untrusted, relative to the
    model's folder, never opened here) or `stripped` (gone). `length` is in bytes, None where the
    model does not say.
    """

    file: str
    offset: int
    length: int | None
    field: str


@dataclass(frozen=True, slots=True)
class Keep:
    """What stays in the model: payloads up to a size in bytes, by ONNX data type number.

    `default_bytes` is the least of the sizes; no message that is smaller is looked into.
    """

    default_bytes: int
    by_type: Mapping[int, int]

    def bytes_for(self, data_type: int) -> int:
        """Largest payload that stays, in bytes."""
        return self.by_type.get(data_type, self.default_bytes)


class Rewriter:
    """Copies a serialized ModelProto without its large payloads and remembers where they were.

    Exporters' stack traces go too, from every node that is looked into: nothing reads them, and they
    are most of a large graph. `deep` looks into every message, however small, and so finds damage
    anywhere; it is several times slower.
    """

    def __init__(self, data: Buffer, file: str, keep: Keep, *, deep: bool = False) -> None:
        self.data = data
        self.file = file
        self.keep = keep
        self.deep = deep
        self.places: dict[str, WeightPlace] = {}
        self._read = Reader(data)
        self._out: list[bytes] = []
        self._copied_bytes = 0

    def model(self) -> bytes:
        """The ModelProto without its payloads, serialized.

        Raises: WireError for damage, nesting or sizes that no model has.
        """
        self._message("model", 0, len(self.data), 1)
        joined = b"".join(self._out)
        self._out.clear()
        if len(joined) > _LARGE_BYTES:
            forget(self.data, 0, len(self.data))
            # A message of 2 bytes takes 200 once parsed: 60 MB of them would fill 6 GB.
            if (tiny := _count_tiny(joined)) > MAX_TINY:
                raise WireError(0, f"{tiny:,} tiny fields; no real model is cut so fine")
        return joined

    def _message(self, kind: str, start: int, end: int, depth: int) -> int:
        """Append a message without its payloads; its size in bytes."""
        if depth > MAX_DEPTH:
            raise WireError(start, f"nested deeper than {MAX_DEPTH} messages")
        if kind == "tensor":
            return self._tensor(start, end)
        children = _CHILDREN[kind]
        singular = _SINGULAR.get(kind, frozenset())
        seen: set[int] = set()
        size = 0
        copied = start
        for field, wire, at, body, stop in self._read.walk(start, end):
            if wire != DELIMITED:
                continue
            if stop - body > TRACE_BYTES:
                instead = self._instead(kind, field, body, stop)
                if instead is not None:
                    size += self._copy(copied, at) + self._put(instead)
                    copied = stop
                    continue
            child = children.get(field)
            if child is None:
                continue
            if field in singular:
                if field in seen:
                    raise WireError(at, f"a second {child} where only one may be")
                seen.add(field)
            if self._is_plain(body, stop):
                continue
            size += self._copy(copied, at)
            slot = len(self._out)
            self._out.append(b"")
            inner = self._message(child, body, stop, depth + 1)
            header = varint(field << 3 | DELIMITED) + varint(inner)
            self._out[slot] = header
            size += len(header) + inner
            copied = stop
        return size + self._copy(copied, end)

    def _is_plain(self, start: int, end: int) -> bool:
        """Whether a message can be copied unseen: too small for a payload, and naming no file."""
        if self.deep or end - start > self.keep.default_bytes:
            return False
        return _SAYS_EXTERNAL.search(self.data, start, end) is None

    def _instead(self, kind: str, field: int, start: int, end: int) -> bytes | None:
        """What stands for a bulky field that no one reads (nothing, or a marker); None: it stays."""
        if kind == "node":
            is_trace = field == _NODE_METADATA and _TRACES.match(self.data, start, end) is not None
            return b"" if is_trace or field == _NODE_DOC else None
        if kind == "attribute" and field == _ATTRIBUTE_BYTES and end - start > BLOB_BYTES:
            place = WeightPlace(self.file, start, end - start, "attribute")
            return delimited(field, self._remember(place))
        return None

    def _tensor(self, start: int, end: int) -> int:
        """Append a TensorProto, its payload marked if large or external; its size in bytes."""
        read = self._read
        rest: list[tuple[int, int]] = []  # everything but the payload and where it lies
        pieces: list[tuple[int, int, int, int]] = []
        entries: dict[str, str] = {}
        data_type = payload_bytes = 0
        external = False
        at = start
        while at < end:
            field, wire, body, stop = read.field(at, end)
            if field in _PAYLOADS:
                if wire != DELIMITED:
                    stop = read.unpacked(field, wire, stop, end)
                if len(pieces) < 2:  # more are not told apart
                    pieces.append((field, wire, body, stop))
                payload_bytes += stop - body
            elif field == _EXTERNAL_DATA and wire == DELIMITED:
                key, value = self._entry(body, stop)
                entries[key] = value
            elif field == _DATA_LOCATION and wire == VARINT:
                number = read.varint(body, stop)[0] & 0xFFFFFFFF
                external = number == 1 if number in (0, 1) else external
            else:
                if field == _DATA_TYPE and wire == VARINT:
                    data_type = read.varint(body, stop)[0] & 0xFFFFFFFF
                rest.append((at, stop))
            at = stop
        if external:
            place = _declared(entries)
        elif payload_bytes > self.keep.bytes_for(data_type):
            field, wire, body, stop = pieces[0]
            if len(pieces) > 1 or wire != DELIMITED or field == _STRING_DATA:
                place = WeightPlace(self.file, start, end - start, "tensor")
            else:
                place = WeightPlace(self.file, body, stop - body, _PAYLOADS[field])
        else:
            return self._copy(start, end)
        size = sum(self._copy(at, stop) for at, stop in rest)
        location = delimited(1, b"location") + delimited(2, self._remember(place))
        external_now = varint(_DATA_LOCATION << 3 | VARINT) + b"\x01"
        return size + self._put(external_now + delimited(_EXTERNAL_DATA, location))

    def _entry(self, start: int, end: int) -> tuple[str, str]:
        texts = {1: "", 2: ""}
        for field, wire, _, body, stop in self._read.walk(start, end):
            if wire == DELIMITED and field in texts:
                text = self.data[body : min(stop, body + 4096)]
                texts[field] = text.decode("utf-8", "replace")
        return texts[1], texts[2]

    def _remember(self, place: WeightPlace) -> bytes:
        # The zero byte makes it a name that no system opens, whatever lies beside the model.
        key = f"{OMITTED}{len(self.places)}\0"
        self.places[key] = place
        return key.encode()

    def _copy(self, start: int, end: int) -> int:
        if end > start:
            self._copied_bytes += end - start
            if self._copied_bytes > MAX_GRAPH_BYTES:
                limit = f"{MAX_GRAPH_BYTES // 2**20} MiB"
                raise WireError(start, f"more than {limit} of graph, weights not counted")
            self._out.append(self.data[start:end])
        return end - start

    def _put(self, piece: bytes) -> int:
        self._out.append(piece)
        return len(piece)


# Every byte by whether it can be the tag of a delimited field, its length if tiny, both or neither.
_ROLES = bytes(b"NTLB"[(byte & 7 == DELIMITED) + 2 * (byte < 16)] for byte in range(256))


def _count_tiny(serialized: bytes) -> int:
    """At least the number of fields of up to 15 bytes, counted without a loop over them."""
    roles = serialized.translate(_ROLES)
    return sum(roles.count(pair) for pair in (b"TL", b"TB", b"BL")) + 2 * roles.count(b"BB")


def _declared(entries: Mapping[str, str]) -> WeightPlace:
    """The place that a tensor with data_location EXTERNAL names, as far as it makes sense."""
    location = entries.get("location", "")
    length = _count(entries.get("length", ""))
    field = "stripped" if location == STRIPPED else "external"
    return WeightPlace(location, _count(entries.get("offset", "")) or 0, length, field)


def _count(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None

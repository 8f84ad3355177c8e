"""Names for free dimensions: one symbol for what is one size, called `batch`, `seq`, ... where the input tells.

Exporters give every input its own batch symbol (`s10` and `s86`). Symbols without a meaning of their own are named by
the axis of the input they stand at; symbols that get the same role, or that the graph forces to be equal, become one.
The file's names stay usable as aliases.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import onnx_ir
import sympy

from energy_opt.errors import ModelError
from energy_opt.ir import symbolic
from energy_opt.ir.dims import Dim, symbol
from energy_opt.ir.graph import DimInfo

_ANONYMOUS = re.compile(
    r"(?i)^([a-z]?_?\d+|unk(nown)?_*\d*|_d\d+|dim_?\d+|.*_dim_?\d+|.*_dynamic_axes_\d+|none|dynamic\w*|\?|-1|)$"
)
_MEANINGS = (
    (re.compile(r"(?i)^(batch|batch_?size|bs|n|b)$"), "batch"),
    (re.compile(r"(?i)^(seq|seq_?len(gth)?|sequence(_?len(gth)?)?|sequence_size|tokens)$"), "seq"),
    (re.compile(r"(?i)^past_?(seq_?len(gth)?|sequence_?len(gth)?)?$"), "past"),
    (re.compile(r"(?i)^decoder_(seq|seq_?len(gth)?|sequence_?len(gth)?)$"), "decoder_seq"),
    (re.compile(r"(?i)^encoder_(seq|seq_?len(gth)?|sequence_?len(gth)?)$"), "encoder_seq"),
)
_SHARED = {
    "batch": "the batch",
    "past": "the length of the past",
    "encoder_seq": "the encoder's length",
}
"""Sizes that inputs share unless the file gives them different names."""
_WORDS = frozenset(name for _, name in _MEANINGS)
_TOKENS = re.compile(r"(?i)ids|embed|tokens|position")
_TOTAL = re.compile(r"(?i)^(total|kv|key)_?(seq(uence)?_?(len(gth)?)?|len(gth)?)$")
_EXPRESSION = re.compile(r"^[\w .+\-*()]{1,120}$", re.ASCII)
_IDENTIFIER = re.compile(r"^[A-Za-z_]\w{0,60}$", re.ASCII)
_RESERVED = frozenset(
    {"true", "false", "none", "min", "max", "floor", "ceiling", "mod", "sqrt"}
)  # read as functions


@dataclass
class Symbols:
    """The free dims of a graph's inputs, while they are being named and unified."""

    infos: dict[str, DimInfo] = field(default_factory=dict)
    renamed: dict[str, Dim] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    _fixed: dict[str, Dim] = field(default_factory=dict)
    _merged: dict[str, list[str]] = field(default_factory=dict)

    def name_inputs(self, inputs: Iterable[onnx_ir.Value]) -> None:
        """Rename the dims of the inputs in place.

        Raises:
            ModelError: a dim is negative.
        """
        found: dict[onnx_ir.Value, list[Dim]] = {}
        for place, value in enumerate(inputs):
            if value.shape is None:
                continue
            dims = [self._dim(value, place, axis, dim) for axis, dim in enumerate(value.shape.dims)]
            found[value] = dims
        for name, places in self._merged.items():
            more = f" and {len(places) - 2} more axes are" if len(places) > 2 else ""
            verb = more or (" is" if len(places) == 1 else " are")
            self.notes.append(
                f"{', '.join(places[:2])}{verb} taken to be the same size as {self.infos[name].where}: {_SHARED[name]}"
            )
        self._total_length(found)
        for value, dims in found.items():
            value.shape = onnx_ir.Shape([to_ir(_substitute(dim, self._fixed)) for dim in dims])

    def _dim(self, value: onnx_ir.Value, place: int, axis: int, dim: object) -> Dim:
        where = f"{value.name or f'input {place}'} axis {axis}"
        if isinstance(dim, int):
            if dim < 0:
                raise ModelError(
                    f"input {value.name!r} declares size {dim} on axis {axis}; sizes are positive, "
                    "and a free one is written as a name (dim_param)"
                )
            return dim
        text = getattr(dim, "value", None)
        if text is None:
            return self._symbol(f"{value.name}_dim_{axis}", value, axis, where, anonymous=True)
        if text in self.renamed:
            return self.renamed[text]
        if _IDENTIFIER.match(text) or not _EXPRESSION.match(text):
            return self._symbol(text, value, axis, where, anonymous=bool(_ANONYMOUS.match(text)))
        return self._expression(text, value, axis, where)

    def _expression(self, text: str, value: onnx_ir.Value, axis: int, where: str) -> Dim:
        """A declared expression such as `past_sequence_length + 1`; one that is no size becomes a symbol."""
        parsed = _parsed(text)
        if parsed is None:
            return self._symbol(text, value, axis, where, anonymous=bool(_ANONYMOUS.match(text)))
        replacement = {}
        for name in sorted(s.name for s in parsed.free_symbols):
            known = self.renamed.get(name)
            if known is None:
                anonymous = bool(_ANONYMOUS.match(name))
                known = self._symbol(name, value, axis, where, anonymous=anonymous)
            replacement[symbol(name)] = known
        result = parsed.xreplace(replacement)
        return int(result) if result.is_Integer else result

    def _symbol(
        self, text: str, value: onnx_ir.Value, axis: int, where: str, *, anonymous: bool
    ) -> Dim:
        wanted = _role(value, axis) if anonymous else _meaning(text, value, axis)
        old = self.infos.get(wanted)
        beside = old is not None and _input(old.where) == _input(
            where
        )  # axes of one input are two sizes
        same = wanted in _SHARED if anonymous else self._spelled(text, wanted)
        if old is not None and same and not beside:
            if text not in old.aliases and anonymous:
                self._merged.setdefault(wanted, []).append(f"{where} ({text!r})")
            self.infos[wanted] = _with_alias(old, text)
        else:
            if old is not None and not anonymous:
                wanted = _cleaned(text) or wanted
            wanted = _unused(wanted, self.infos)
            self.infos[wanted] = DimInfo(wanted, (text,) if text != wanted else (), where)
        self.renamed[text] = symbol(wanted)
        return self.renamed[text]

    def _spelled(self, text: str, wanted: str) -> bool:
        """Whether the file says the same of both sizes in words (`batch`, `batch_size`), not in letters (`n`, `b`)."""
        others = [old for old, dim in self.renamed.items() if dim == symbol(wanted)]
        return wanted in _WORDS and all(len(word) > 1 for word in (text, *others))

    def _total_length(self, found: dict[onnx_ir.Value, list[Dim]]) -> None:
        """A mask over past and new tokens is as long as both, where the file does not say otherwise."""
        tokens = [
            dims[1]
            for value, dims in found.items()
            if len(dims) > 1 and not isinstance(dims[1], int) and _TOKENS.search(value.name or "")
        ]
        if not tokens and "seq" in self.infos:
            tokens = [symbol("seq")]
        past = symbol("past")
        if "past" not in self.infos or not tokens or past in tokens[0].free_symbols:
            return
        masks = [v for v, dims in found.items() if len(dims) == 2 and "mask" in (v.name or "")]
        others = {dim for value, dims in found.items() if value not in masks for dim in dims}
        for mask in masks:
            length = found[mask][1]
            info = self.infos.get(length.name) if isinstance(length, sympy.Symbol) else None
            if info is None or length in others:
                continue
            texts = [text for text, dim in self.renamed.items() if dim == length]
            if all(_ANONYMOUS.match(text) or _TOTAL.match(text) for text in texts):
                self._fixed[info.name] = past + tokens[0]
                self._replace(info.name, past + tokens[0])

    def unify(self, pairs: Iterable[tuple[Dim, Dim]]) -> dict[str, Dim]:
        """Symbols that the graph forces to be equal, as `{symbol to replace: what it equals}`; the infos follow."""
        replaced: dict[str, Dim] = {}
        for left, right in pairs:
            a, b = (_substitute(dim, replaced) for dim in (left, right))
            if a == b:
                continue
            for gone, kept in ((b, a), (a, b)):
                if (
                    isinstance(gone, sympy.Symbol)
                    and gone.name in self.infos
                    and not _occurs(gone, kept)
                ):
                    if isinstance(kept, sympy.Symbol) and kept.name not in self.infos:
                        continue
                    if isinstance(kept, sympy.Symbol) and _prefer(gone.name, kept.name, self.infos):
                        continue
                    self._replace(gone.name, kept)
                    replaced = {k: _substitute(v, {gone.name: kept}) for k, v in replaced.items()}
                    replaced[gone.name] = kept
                    break
        return replaced

    def suggest(self, requirements: Iterable[tuple[Dim, int]]) -> None:
        """Take the size that a weight asks for as the default of a dim, instead of 1."""
        for dim, size in requirements:
            info = self.infos.get(dim.name) if isinstance(dim, sympy.Symbol) else None
            if info is not None and info.default == 1 and size > 1:
                self.infos[info.name] = replace(info, default=size)
                self.notes.append(
                    f"{info.name} ({info.where}) is {size} unless given: the weights ask for it"
                )

    def _replace(self, name: str, kept: Dim) -> None:
        info = self.infos.pop(name)
        if isinstance(kept, sympy.Symbol):
            target = self.infos[kept.name]
            for alias in (*((name,) if name in self.renamed else ()), *info.aliases):
                target = _with_alias(target, alias)
            self.infos[kept.name] = target
        else:
            text = info.aliases[0] if info.aliases else name
            self.notes.append(f"{info.where} ({text!r}) is {kept}")
        self.renamed = {text: _substitute(dim, {name: kept}) for text, dim in self.renamed.items()}


def _input(where: str) -> str:
    return where.rpartition(" axis ")[0]


def _parsed(text: str) -> sympy.Expr | None:
    """The sum or product of sizes that the text says; None where it says anything else.

    The text is untrusted: powers and divisions, which can grow without bound or be no size at all, are not read.
    """
    if "**" in text or "/" in text or not re.search(r"[A-Za-z_]", text):
        return None
    try:
        parsed = symbolic.parsed(text)
    except (ValueError, RecursionError):
        return None
    if parsed is None or not parsed.free_symbols:
        return None
    typical = parsed.xreplace({s: sympy.Integer(1000) for s in parsed.free_symbols})
    return parsed if typical.is_Integer and typical > 0 else None


def to_ir(dim: Dim) -> int | onnx_ir.SymbolicDim:
    """The dim as an entry of an onnx_ir shape."""
    return dim if isinstance(dim, int) else onnx_ir.SymbolicDim(dim)


def rename_shape(shape: onnx_ir.Shape, renamed: dict[str, Dim]) -> onnx_ir.Shape:
    """A declared shape in the new names; a dim that cannot be said in them is left unknown."""
    dims: list[int | onnx_ir.SymbolicDim] = []
    for dim in shape.dims:
        if isinstance(dim, int):
            dims.append(dim if dim >= 0 else onnx_ir.SymbolicDim(None))
            continue
        known = renamed.get(dim.value) if dim.value is not None else None
        dims.append(onnx_ir.SymbolicDim(None) if known is None else to_ir(known))
    return onnx_ir.Shape(dims)


def _substitute(dim: Dim, replaced: dict[str, Dim]) -> Dim:
    if isinstance(dim, int) or not replaced:
        return dim
    result = dim.xreplace({symbol(name): sympy.sympify(to) for name, to in replaced.items()})
    return int(result) if result.is_Integer else result


def _occurs(name: sympy.Symbol, dim: Dim) -> bool:
    return not isinstance(dim, int) and name in dim.free_symbols


def _prefer(gone: str, kept: str, infos: dict[str, DimInfo]) -> bool:
    """Whether the symbol about to go has the better name: the one that came first."""
    order = list(infos)
    return order.index(gone) < order.index(kept)


def _with_alias(info: DimInfo, alias: str) -> DimInfo:
    if alias == info.name or alias in info.aliases:
        return info
    return replace(info, aliases=(*info.aliases, alias))


def _unused(wanted: str, taken: Iterable[str]) -> str:
    taken = set(taken)
    if wanted not in taken:
        return wanted
    number = 2
    while f"{wanted}_{number}" in taken:
        number += 1
    return f"{wanted}_{number}"


def _meaning(text: str, value: onnx_ir.Value, axis: int) -> str:
    cleaned = _cleaned(text)
    for pattern, name in _MEANINGS:
        if pattern.match(cleaned) and (len(cleaned) > 1 or axis == 0):
            return name
    return cleaned or _role(value, axis)


def _cleaned(text: str) -> str:
    """The file's name as an identifier; "" where too little of it is left."""
    cleaned = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_")[:60]
    if not _IDENTIFIER.match(cleaned):
        return ""
    reserved = cleaned.lower() in _RESERVED or keyword.iskeyword(cleaned)
    return f"dim_{cleaned}" if reserved else cleaned


def _role(value: onnx_ir.Value, axis: int) -> str:
    """What the axis of an input usually is, from its place and the input's name, rank and type."""
    name = (value.name or "input").lower()
    rank = len(value.shape.dims) if value.shape is not None else 0
    floating = value.dtype is not None and value.dtype.is_floating_point()
    if axis == 0:
        return "batch"
    encoder = re.search(r"(?<!d)encoder|cross", name) is not None
    if "past" in name or "cache" in name:
        if (rank, axis) in ((4, 2), (5, 3)):  # keys and values apart, or stacked in front
            return "encoder_seq" if encoder else "past"
        if (rank, axis) == (5, 1):
            return "batch"
    elif floating and rank in (4, 5) and axis >= 2:
        return ("depth", "height", "width")[axis - rank + 3]
    if (not floating and axis == 1) or (
        floating and rank == 3 and axis == 1 and "feature" not in name
    ):
        return "encoder_seq" if encoder else "decoder_seq" if name.startswith("decoder") else "seq"
    if floating and rank == 3 and axis == 2:
        return "frames" if "feature" in name or "mel" in name else "features"
    if floating and rank == 2 and axis == 1:
        return (
            "samples" if re.search(r"audio|wave|speech|input_values|signal", name) else "features"
        )
    cleaned = re.sub(r"\W+", "_", name).strip("_")[:50] or "input"
    return f"{cleaned}_{axis}" if not cleaned[0].isdigit() else f"input_{cleaned}_{axis}"

"""Sizes of exported programs: torch's symbols under our names, torch's functions of sizes in plain sympy."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import sympy

from energy_opt.frontend.pytorch.recording import Recording
from energy_opt.ir.dims import Dim, symbol
from energy_opt.ir.graph import DimInfo

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Sizes:
    """Reads torch's sizes into dims and keeps the recording's table of dims.

    `where` is the op whose results are read, for the sizes that only the data knows.
    """

    def __init__(self, root: Recording) -> None:
        self.where = ""
        self._root = root
        self._symbols: dict[sympy.Symbol, sympy.Symbol] = {}
        self._known: dict[Any, Dim] = {}

    def read_input(self, name: str, shape: Any, axes: Mapping[int, str], *, integer: bool) -> None:
        """Name the symbols of an input's axes: as the caller says, else as the program does, else by custom."""
        for axis, size in enumerate(shape):
            expression = _expression(size)
            if not isinstance(expression, sympy.Symbol) or expression in self._symbols:
                continue
            wanted = axes.get(axis) or _declared(size, name, axis)
            if wanted is None:
                free = [n for n in _custom(axis, len(shape), integer) if n not in self._root.dims]
                wanted = free[0] if free else f"{name}_{axis}"
            self._symbols[expression] = symbol(wanted)
            where = f"{name} axis {axis}"
            info = DimInfo(wanted, (), where, "input", _hint(size))
            self._root.dims.setdefault(wanted, info)

    def of(self, size: Any) -> Dim:
        """The dim of an int, a SymInt or a sympy expression of torch's."""
        if type(size) is int:
            return size
        expression = _expression(size)
        found = self._known.get(expression)
        if found is None:
            made = self._plain(expression, size)
            found = self._known[expression] = int(made) if made.is_Integer else made
        return found

    def mint(self, stem: str, where: str, origin: str, default: Dim = 1) -> sympy.Symbol:
        """A new dim that no input has, such as a number of trips."""
        number = 0
        while f"{stem}_{number}" in self._root.dims:
            number += 1
        name = f"{stem}_{number}"
        self._root.dims[name] = DimInfo(name, (), where, origin, default)
        return symbol(name)

    def _plain(self, expression: Any, size: Any) -> Any:
        if isinstance(expression, sympy.Symbol):
            return self._symbols.get(expression) or self._unnamed(expression, size)
        if not expression.args:
            return expression
        name = expression.func.__name__
        if name == "Where":
            # which one holds depends on sizes: the larger, as for the branches of control flow
            parts = [self._plain(part, size) for part in expression.args[1:]]
            return sympy.Max(*parts)
        if isinstance(expression, sympy.logic.boolalg.Boolean) or name in _OPAQUE:
            return self.mint("size", f"{expression} in {self.where}", "data")
        parts = [self._plain(part, size) for part in expression.args]
        translate = _PLAIN.get(name)
        return translate(*parts) if translate is not None else expression.func(*parts)

    def _unnamed(self, expression: sympy.Symbol, size: Any) -> sympy.Symbol:
        """A symbol that is no axis of an input by itself: it depends on the data, or inputs have multiples of it."""
        if expression.name.startswith(("u", "zuf")):
            made = self.mint(self.where or "size", f"depends on the data of {self.where}", "data")
        else:
            made = self.mint("dim", f"behind sizes of the inputs ({expression})", "input")
        self._symbols[expression] = made
        return made


def _expression(size: Any) -> Any:
    node = getattr(size, "node", None)
    return sympy.sympify(size if node is None else node.expr)


def _hint(size: Any) -> int:
    """The example's size, which is the dim's default."""
    hint = size.node.hint
    return int(hint) if hint is not None else 1


def _declared(size: Any, name: str, axis: int) -> str | None:
    """The name that the exporting program gave to the axis: `Dim("seq")`; it is lost when a program is saved."""
    environment = getattr(size.node, "shape_env", None)
    names = getattr(environment, "source_name_to_debug_name", {})
    found = names.get(f"L[{name!r}].size()[{axis}]", "")
    return found if _NAME.fullmatch(found) else None


def _custom(axis: int, rank: int, integer: bool) -> list[str]:
    """What the axis of an input is usually called."""
    if axis == 0:
        return ["batch"]
    if integer and rank == 2:
        return ["seq"]
    if rank == 4 and not integer:
        return {2: ["height"], 3: ["width"]}.get(axis, [])
    return []


def _floor(x: Any, y: Any) -> Any:
    return sympy.floor(x / y)


_OPAQUE = frozenset({"IsNonOverlappingAndDenseIndicator", "BitwiseFn_bitwise_and"})
_PLAIN: dict[str, Callable[..., Any]] = {
    "FloorDiv": _floor,
    "CleanDiv": lambda x, y: x / y,
    "CeilDiv": lambda x, y: sympy.ceiling(x / y),
    "ModularIndexing": lambda x, y, modulus: sympy.Mod(_floor(x, y), modulus),
    "Mod": sympy.Mod,
    "PythonMod": sympy.Mod,
    "Max": sympy.Max,
    "Min": sympy.Min,
    "IntTrueDiv": lambda x, y: x / y,
    "FloatTrueDiv": lambda x, y: x / y,
    "PowByNatural": sympy.Pow,
    "FloatPow": sympy.Pow,
    "LShift": lambda x, shift: x * 2**shift,
    "RShift": lambda x, shift: _floor(x, 2**shift),
    "FloorToInt": sympy.floor,
    "TruncToInt": sympy.floor,  # sizes are positive
    "TruncToFloat": sympy.floor,
    "CeilToInt": sympy.ceiling,
    "RoundToInt": lambda x: sympy.floor(x + sympy.Rational(1, 2)),
    "ToFloat": lambda x: x,
    "Identity": lambda x: x,
    "OpaqueUnaryFn_sqrt": sympy.sqrt,
    "OpaqueUnaryFn_log": sympy.log,
}
"""torch's functions of sizes that ours can be evaluated without."""

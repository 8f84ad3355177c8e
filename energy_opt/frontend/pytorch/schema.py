"""How the arguments of an operator are bound: which are tensors, and the names and values of the others.

One reading of torch's schemas for graphs that were exported. Nothing here imports torch: it works on what it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

DROPPED = frozenset(
    {
        "cudnn_enable",
        "cudnn_enabled",
        "device",
        "generator",
        "layout",
        "pin_memory",
        "requires_grad",
    }
)
"""Arguments that say nothing about the work."""

SKIPPED = frozenset(
    """aten::_assert_tensor_metadata aten::_assert_async aten::_assert_scalar aten::_functional_assert_async
    aten::_functional_assert_scalar aten::sym_constrain_range aten::sym_constrain_range_for_size
    aten::_functional_sym_constrain_range aten::_functional_sym_constrain_range_for_size aten::sym_size aten::sym_stride
    aten::sym_numel aten::sym_storage_offset aten::sym_is_contiguous profiler::_record_function_enter
    profiler::_record_function_enter_new profiler::_record_function_exit""".split()
)
"""Operators that check or describe tensors, or name what runs, and do nothing with them."""

_DROPOUTS = frozenset({"dropout", "alpha_dropout", "feature_dropout", "feature_alpha_dropout"})


class Bound(NamedTuple):
    """The arguments of one call: tensors in the schema's order, and a value for each of the schema's `names`.

    A list of tensors has its length as value. `written` is the index of the first tensor that the op changes in place.
    """

    tensors: tuple[Any, ...]
    values: tuple[Any, ...]
    written: int | None


class Schema:
    """The schema of one operator, as far as it says what a call means.

    `aliases` says that the result may live in an operand's memory: it is declared to, or the op is a composite one,
    which may return its operand or a view of it whatever its schema says. `factory` says that it makes tensors anew.
    """

    __slots__ = (
        *("_plan", "aliases", "declared", "domain", "factory", "full_name", "name", "names"),
        *("overload", "skipped", "writes"),
    )

    def __init__(self, function: Any) -> None:
        schema = function._schema
        self.full_name = str(function)
        self.domain, _, self.name = schema.name.partition("::")
        self.overload = schema.overload_name
        self.skipped = schema.name in SKIPPED
        self.declared = any(result.alias_info is not None for result in schema.returns)
        self.aliases = self.declared or function._can_decompose()
        self.factory = any(argument.name == "pin_memory" for argument in schema.arguments)
        self._plan: list[tuple[str, str, bool, Any]] = []
        for argument in schema.arguments:
            kind = str(argument.type)
            how = "list" if "List[" in kind and "Tensor" in kind else "tensor"
            if "Tensor" not in kind:
                how = "drop" if argument.name in DROPPED or "Generator" in kind else "plain"
            default = argument.default_value if argument.has_default_value() else None
            info = argument.alias_info
            self._plan.append((argument.name, how, info is not None and info.is_write, default))
        self.names = [name for name, how, _, _ in self._plan if how != "drop"]
        self.writes = any(written for _, _, written, _ in self._plan)

    def bind(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], is_tensor: Callable[[Any], bool]
    ) -> Bound:
        """The arguments of one call by what they are. A number where the schema has a tensor is a value."""
        tensors: list[Any] = []
        values: list[Any] = []
        written = None
        given = len(args)
        for index, (name, how, write, default) in enumerate(self._plan):
            if how == "drop":
                continue
            value = args[index] if index < given else kwargs.get(name, default)
            if how == "plain":
                values.append(_tupled(value))
                continue
            if write and written is None:
                written = len(tensors)
            if how == "tensor":
                there = is_tensor(value)
                tensors.append(value if there else None)
                values.append(None if there else value)
                continue
            items = list(value) if value is not None else []
            tensors += [item if is_tensor(item) else None for item in items]
            values.append(len(items))
        while tensors and tensors[-1] is None:
            tensors.pop()
        return Bound(tuple(tensors), tuple(values), written)

    def attributes(self, values: Sequence[Any]) -> dict[str, Any]:
        """The values by name as `Target.attributes` holds them, None left out."""
        pairs = zip(self.names, values, strict=True)
        return {name: plain(value) for name, value in pairs if value is not None}

    def returns_operand(self, attributes: Mapping[str, Any]) -> bool:
        """Whether the op hands back what it got although torch's decomposition, and so an exported graph, copies."""
        return self.name in _DROPOUTS and attributes.get("train") is False


def plain(value: Any) -> Any:
    """A value as an attribute: dtypes and memory formats as text."""
    if isinstance(value, tuple):
        return tuple([plain(item) for item in value])
    text = str(value) if type(value).__module__ == "torch" else ""
    return text.removeprefix("torch.") if text.startswith("torch.") else value


def _tupled(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return tuple([_tupled(item) for item in value])
    return value


def dtype_name(dtype: Any) -> str:
    """torch's own name of a dtype, such as `float32`."""
    return str(dtype).removeprefix("torch.")

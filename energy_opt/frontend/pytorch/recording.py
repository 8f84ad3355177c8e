"""What a run of a PyTorch module did: operator calls in order, with their operands. Nothing here imports torch.

The recorder and torch.export both end here, so that they can be compared and are lowered by the same code.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from energy_opt.ir.dims import Dim
from energy_opt.ir.graph import DimInfo

Type = tuple[tuple[Dim, ...], str]
"""Shape and dtype (torch's name for it, such as `float32`) of a tensor."""


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """What is called, with every argument that is not a tensor; shared by equal calls.

    `domain`, `name` and `overload` are those of the operator (`aten`, `add`, `Tensor`; the default overload is "").
    `attributes` holds arguments by schema name, the schema's defaults filled in; None, devices, layouts and generators
    are left out, dtypes and memory formats are text, lists are tuples, and a list of tensors leaves its length here.
    `reuses` is the index of the input in whose memory the first output lives: a view, or an op in place. `writes` says
    that the op changes one of its operands.
    """

    domain: str
    name: str
    overload: str
    attributes: dict[str, Any]
    reuses: int | None = None
    writes: bool = False


class Call(NamedTuple):
    """One call of an operator. Tensors are numbers; what is changed in place gets a new one.

    `inputs` are the tensor arguments in the order of the schema, None where an optional one is omitted. `path` is the
    module that made the call, "" for the root. `bodies` are the subgraphs of a higher-order op by name.
    """

    target: Target
    inputs: tuple[int | None, ...]
    outputs: tuple[int, ...]
    path: str
    bodies: tuple[tuple[str, Recording], ...] = ()


class Weight(NamedTuple):
    """A tensor that belongs to the module: a parameter, or else a buffer or a constant."""

    name: str
    parameter: bool


@dataclass
class Recording:
    """Calls in the order in which they ran, and what their tensors are.

    `types` gives the shape and dtype of every tensor, `modules` the class of every module path.
    """

    calls: list[Call] = field(default_factory=list)
    inputs: list[tuple[str, int]] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    weights: dict[int, Weight] = field(default_factory=dict)
    types: dict[int, Type] = field(default_factory=dict)
    modules: dict[str, str] = field(default_factory=dict)
    dims: dict[str, DimInfo] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

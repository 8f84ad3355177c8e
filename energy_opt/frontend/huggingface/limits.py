"""Texts longer than a model has positions for: refused where they are learned, said where they are computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from energy_opt.errors import DimError
from energy_opt.frontend.huggingface.build import running
from energy_opt.frontend.huggingface.modalities import decoder_positions, positions
from energy_opt.ir.graph import Graph


class Limit(NamedTuple):
    """The most tokens of a dim, what the config states for it, and where.

    `table` is the path of the learned positions, None where positions are computed.
    """

    most: int
    stated: int
    field: str
    table: str | None


_FIELDS = {
    "seq": ("max_position_embeddings", "max_source_positions"),
    "decoder_seq": ("max_target_positions", "max_position_embeddings", "n_positions"),
}
_OFFSETS = 4  # rows of a table that stand for no position, such as that of the padding: 2 in roberta and bart


def limits(module: Any, dims: Mapping[str, Any]) -> dict[str, Limit]:
    """What bounds these dims of a transformers module; those that nothing bounds are left out."""
    found: dict[str, Limit] = {}
    for name, most in (
        ("seq", positions(module.config)),
        ("decoder_seq", decoder_positions(module.config)),
    ):
        if name in dims and most is not None:
            table = _table(module, most, decoder=name != "seq")
            found[name] = Limit(most, *_stating(module.config, name, most), table)
    return found


def _table(module: Any, most: int, *, decoder: bool) -> str | None:
    """The path of the embedding of positions that has as many rows, less those that are no position."""
    import torch

    twofold = getattr(module.config, "is_encoder_decoder", False)
    for path, child in module.named_modules():
        name = path.rpartition(".")[2]
        if not isinstance(child, torch.nn.Embedding) or not ("pos" in name or name == "wpe"):
            continue
        if twofold and decoder != ("decoder" in path):
            continue
        if 0 <= child.num_embeddings - most <= _OFFSETS:
            return str(path)
    return None


def _stating(config: Any, dim: str, most: int) -> tuple[int, str]:
    """What the config states, which may count the padding too, and the field as `--set` takes it."""
    for prefix, each in (("", config), ("text_config.", getattr(config, "text_config", None))):
        for name in _FIELDS[dim]:
            value = getattr(each, name, None)
            if isinstance(value, int) and most <= value <= most + _OFFSETS:
                return value, f"{prefix}{name}"
    return most, ""


class Bounded:
    """What makes a graph for given sizes (see `Graph.at`), as the first was made, with a look at the limits before."""

    def __init__(self, graph: Graph, limits: Mapping[str, Limit], module: Any) -> None:
        self._inner = graph.variant
        self._limits = dict(limits)
        self._module = module
        self._noted: dict[tuple[int, tuple[str, ...]], Graph] = {}

    def __call__(self, graph: Graph, sizes: Mapping[str, Any]) -> Graph:
        """The graph for these sizes, with notes of what is beyond. Raises DimError where positions are learned."""
        import numpy as np

        notes: list[str] = []
        for name, limit in self._limits.items():
            size = int(np.max(sizes[name]))
            if size <= limit.most:
                continue
            if limit.table is not None:
                raise DimError(self._refusal(name, size, limit))
            notes.append(
                f"{name} = {size} is beyond the {limit.most} positions that the model was made for; "
                "its work is priced all the same"
            )
        made = graph
        if self._inner is not None:
            with running(self._module.config):
                made = self._inner(graph, sizes)
        if not notes:
            return made
        key = (id(made), tuple(notes))
        if key not in self._noted:
            self._noted[key] = replace(made, notes=[*made.notes, *notes], variant=None)
        return self._noted[key]

    def _refusal(self, name: str, size: int, limit: Limit) -> str:
        kind = type(self._module).__name__
        text = f"{name} is {size}, but {kind} has learned positions for {limit.most} tokens ({limit.table})"
        if limit.field:
            needed = size + limit.stated - limit.most
            text += f"; a model that has them is made with --set {limit.field}={needed}"
        return text

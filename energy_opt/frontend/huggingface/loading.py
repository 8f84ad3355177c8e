"""A prepared model -> Graph, with as many of its sizes free, and as many of its parts, as can be followed."""

from __future__ import annotations

import textwrap
from typing import Any

from energy_opt.errors import EnergyOptError, ModelError
from energy_opt.frontend.huggingface import inputs
from energy_opt.frontend.huggingface.build import running
from energy_opt.frontend.huggingface.limits import Bounded, limits
from energy_opt.frontend.huggingface.prepared import IN_TEXT, Prepared
from energy_opt.ir.graph import Graph


def load(made: Prepared) -> Graph:
    """The graph of a prepared model.

    Sizes of images and sounds are free where the module can be recorded so. An image in a text is left out, with a
    note, where that part of the model cannot be followed.

    Raises:
        ModelError: the module cannot be followed.
    """
    with running(made.module.config):
        graph = _with_free_sizes(made)
        try:
            graph = graph or _load(made, inputs.firm(made.dynamic), made.notes)
        except ModelError as error:
            graph = _without_image(made, error)
            if graph is None:
                raise
    bounds = limits(made.module, graph.dims)
    if bounds or graph.variant:
        graph.variant = Bounded(graph, bounds, made.module)
    return graph


def _load(made: Prepared, dynamic: Any, notes: list[str]) -> Graph:
    from energy_opt.frontend.pytorch.modules import load_module

    return load_module(made.module, made.inputs, dynamic=dynamic, source=made.source, notes=notes)


def _with_free_sizes(made: Prepared) -> Graph | None:
    """The graph with every size free, None where it would be less exact than with those of the example."""
    if inputs.firm(made.dynamic) == made.dynamic:
        return None
    try:
        graph = _load(made, made.dynamic, made.notes)
    except EnergyOptError:
        return None
    told = graph.notes[len(made.notes) :]
    return (
        None if any("torch.export" in note or "multiples only" in note for note in told) else graph
    )


def _without_image(made: Prepared, error: ModelError) -> Graph | None:
    """The graph of the text alone, with the reason in a note; None where there is no image, or no text alone."""
    if not {"pixel_values", "input_ids"} <= made.inputs.keys() or IN_TEXT not in made.notes:
        return None
    tensors, dynamic = inputs.without_image(made.module, made.inputs)
    said = str(error).partition(" cannot be turned into a graph: ")[2] or str(error)
    reason = said.partition(" (")[0].partition(". ")[0].rstrip(".")
    note = (
        "priced without an image, since that part of the model cannot be followed: "
        f"{textwrap.shorten(reason, 160, placeholder=' ...')}"
    )
    notes = [note if each == IN_TEXT else each for each in made.notes]
    alone = Prepared(made.module, tensors, dynamic, made.source, notes)
    try:
        return _load(alone, dynamic, notes)
    except ModelError:
        return None

"""Multiply-accumulates of PyTorch architectures at full size against closed forms and against FlopCounterMode."""

from __future__ import annotations

import importlib.util
import itertools
from functools import cache

import pytest

import energy_opt
from energy_opt.ir.graph import Graph
from tests.oracles.macs_torch import CASES

if any(importlib.util.find_spec(name) is None for name in ("torch", "transformers")):
    pytest.skip("needs PyTorch and transformers", allow_module_level=True)

import torch

from energy_opt.frontend.huggingface import Prepared
from energy_opt.frontend.pytorch.modules import load_module
from tests import zoo
from tests.oracles import flop_counter

# Operators without a rule, which are priced as memory traffic, and how often they are called.
UNMODELLED: dict[str, dict[str, int]] = {}


@cache
def prepared(name: str) -> Prepared:
    return zoo.prepare(name, small=False)


@cache
def graph_of(name: str) -> Graph:
    made = prepared(name)
    return load_module(
        made.module, made.inputs, dynamic=made.dynamic, source=made.source, notes=made.notes
    )


def test_every_architecture_has_a_closed_form() -> None:
    assert set(CASES) == set(zoo.NAMES)


@pytest.mark.parametrize("name", CASES)
def test_macs_equal_the_closed_form(name: str) -> None:
    (smallest, *_, largest), config = CASES[name].sizes, prepared(name).module.config
    for sizes in (smallest, largest):
        expected = CASES[name].count(config, **sizes)
        counted = energy_opt.analyze(graph_of(name), device="h100-sxm", **sizes).macs
        assert counted == pytest.approx(expected, rel=1e-3), sizes


@pytest.mark.parametrize("name", CASES)
def test_what_has_no_rule_is_known_and_rare(name: str) -> None:
    work = energy_opt.workload(graph_of(name))
    assert work.unmodelled == UNMODELLED.get(name, {})
    assert sum(work.unmodelled.values()) < 0.01 * work.nodes


@pytest.mark.parametrize("name", CASES)
def test_closed_forms_equal_what_torch_counts(name: str) -> None:
    sizes = CASES[name].sizes[0]
    # Images and sounds have the size that the closed form is for; of texts, two layers say as much as eighty.
    made = zoo.prepare(name, small=True) if sizes.keys() > {"batch"} else prepared(name)
    counted = flop_counter.macs(made.module, flop_counter.at(made.inputs, made.dynamic, sizes))
    assert counted == CASES[name].count(made.module.config, **sizes)


def defaults(made: Prepared) -> dict[str, int]:
    """The free dims at the size that the inputs have."""
    return {
        dim: made.inputs[name].shape[axis]
        for name, axes in made.dynamic.items()
        for axis, dim in axes.items()
    }


# The same products under other names: composite operators, core ATen ones (addmm, bmm, convolution), attention and
# experts written out, and the grouped products that PyTorch has in bfloat16 only.
WAYS = [
    *itertools.product(
        ("bert", "llama-70b", "mixtral", "t5", "whisper"), ("exported", "decomposed", "eager")
    ),
    *itertools.product(("mixtral", "deepseek_v3"), ("batched", "bfloat16")),
]


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # torch warns of itself
@pytest.mark.parametrize(("name", "way"), WAYS)
def test_another_way_to_write_a_model_multiplies_as_much(name: str, way: str) -> None:
    made = zoo.prepare(name, small=True)
    module, sizes = made.module, defaults(made)
    expected = CASES[name].count(module.config, **sizes)
    if way in ("exported", "decomposed"):
        program = torch.export.export(module, (), made.inputs, strict=False)
        graph = load_module(program if way == "exported" else program.run_decompositions())
        sizes = {}
    else:
        if way == "eager":
            module.set_attn_implementation("eager")
        elif way == "batched":
            module.set_experts_implementation("batched_mm")
        else:
            module.to(torch.bfloat16)
        graph = load_module(module, made.inputs, dynamic=made.dynamic)
    assert energy_opt.analyze(graph, device="h100-sxm", **sizes).macs == expected
    assert energy_opt.workload(graph).unmodelled == {}

"""Multiply-accumulates of PyTorch architectures at full size against closed forms and against FlopCounterMode."""

from __future__ import annotations

import importlib.util
from functools import cache

import pytest

import energy_opt
from energy_opt.ir.graph import Graph
from tests.oracles.macs_torch import CASES

if any(importlib.util.find_spec(name) is None for name in ("torch", "transformers")):
    pytest.skip("needs PyTorch and transformers", allow_module_level=True)

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

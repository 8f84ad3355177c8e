from __future__ import annotations

from typing import Any

import pytest

from energy_opt.report.tree import Node, build, group_ops, op_label, own_energy_j, tree


def module(path: str, energy_j: float, type_: str = "M", macs: int = 1) -> dict[str, Any]:
    return {"path": path, "type": type_, "energy_j": energy_j, "latency_s": energy_j, "macs": macs}


def labels(node: Node) -> list[str]:
    return [child.label for child in node.children]


def walk(node: Node) -> list[Node]:
    return [node, *(inner for child in node.children for inner in walk(child))]


def test_equal_siblings_fold_and_sum() -> None:
    rows = [module("", 9.5)]
    for i in range(3):
        rows += [
            module(f"layer.{i}", 3.0),
            module(f"layer.{i}.mlp", 2.0),
            module(f"layer.{i}.att", 1.0),
        ]
    rows.append(module("head", 0.5))
    root = tree({"modules": rows})
    assert labels(root) == ["layer.0 … 2", "head"]
    layers = root.children[0]
    assert (layers.repeats, layers.energy_j) == (3, 9.0)
    assert [(c.label, c.energy_j) for c in layers.children] == [("mlp", 6.0), ("att", 3.0)]
    assert layers.paths == ("layer.0", "layer.1", "layer.2")


def test_unfolded_keeps_every_module() -> None:
    rows = [module("", 2.0), module("layer.0", 1.0), module("layer.1", 1.0)]
    assert labels(tree({"modules": rows}, fold=False)) == ["layer.0", "layer.1"]


def test_siblings_of_other_shape_or_type_stay_apart() -> None:
    rows = [module("", 4.0), module("b.0", 1.0, macs=5), module("b.1", 1.0), module("b.2", 1.0)]
    rows.append(module("b.3", 1.0, "N"))
    assert sorted(labels(tree({"modules": rows}))) == ["b.0", "b.1 … 2", "b.3"]


def test_conv1_and_conv2_are_different_things() -> None:
    rows = [module("", 2.0), module("conv1", 1.0), module("conv2", 1.0)]
    assert labels(tree({"modules": rows})) == ["conv1", "conv2"]


def test_gaps_in_the_numbers_are_named() -> None:
    rows = [module("", 4.0)] + [module(f"l.{i}", 1.0) for i in (0, 2, 4, 9)]
    assert labels(tree({"modules": rows})) == ["l.0, 2, 4, 9"]


def test_a_module_with_one_content_becomes_one_line() -> None:
    rows = [module("", 2.0), module("enc", 1.5), module("enc.layers", 1.5), module("head", 0.5)]
    assert labels(tree({"modules": rows})) == ["enc.layers", "head"]


def test_a_module_without_listed_parents_hangs_below_the_root() -> None:
    root = build({"modules": [module("", 1.0), module("a.b.c", 1.0)]})
    assert labels(root) == ["a.b.c"]


def test_without_modules_the_root_holds_the_totals() -> None:
    root = tree({"totals": {"energy_j": 2.0, "latency_s": 1.0}})
    assert (root.energy_j, root.children) == (2.0, ())


def test_thousands_of_nested_modules_are_cut_off_with_their_energy_kept() -> None:
    paths = [".".join(f"m{i}" for i in range(depth)) for depth in range(1, 1500)]
    rows = [module("", 1.0), *(module(path, 0.9**depth) for depth, path in enumerate(paths, 1))]
    nodes = walk(tree({"modules": rows}))
    assert len(nodes) == 101
    assert own_energy_j(nodes[-1]) == 0.9**100


@pytest.mark.parametrize("fold", [True, False])
def test_parts_sum_to_the_whole(analysis: dict[str, Any], fold: bool) -> None:
    for node in walk(tree(analysis, fold=fold)):
        inside = sum(child.energy_j for child in node.children)
        assert inside + own_energy_j(node) == pytest.approx(node.energy_j)


def test_bert_shows_its_layers_once(bert: dict[str, Any]) -> None:
    layers = [node for node in walk(tree(bert)) if node.repeats == 12]
    assert any("0 … 11" in node.label for node in layers)


def op(path: str, energy_j: float, flops: int = 10) -> dict[str, Any]:
    return {
        "name": "n",
        "op": "MatMul",
        "kind": "matmul",
        "path": path,
        "matmul_flops": flops,
        "energy_j": energy_j,
    }


def test_equal_ops_in_other_layers_count_together() -> None:
    groups = group_ops(
        [op("l.0.q", 1.0), op("l.1.q", 2.0), op("head", 2.5), op("l.2.q", 1.0, flops=11)]
    )
    assert [(g["label"], g["repeats"], g["energy_j"]) for g in groups] == [
        ("l.[0 … 1].q", 2, 3.0),
        ("head", 1, 2.5),
        ("l.2.q", 1, 1.0),
    ]
    assert op_label(groups[0], short=True) == "l.*.q"


def test_grouping_keeps_all_the_energy(analysis: dict[str, Any]) -> None:
    groups = group_ops(analysis["ops"])
    assert sum(g["energy_j"] for g in groups) == pytest.approx(
        sum(o["energy_j"] for o in analysis["ops"])
    )
    assert sum(g["repeats"] for g in groups) == len(analysis["ops"])

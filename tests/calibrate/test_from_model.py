"""Primitives of a model: what its graph runs, at the sizes asked for, with operands that lie as they do there."""

from __future__ import annotations

import pytest

import energy_opt as eo
from energy_opt.ir.workload import workload

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402


class Heads(nn.Module):
    """Splits, attends, puts together: one real copy, and operands in another order than they lie in."""

    def __init__(self) -> None:
        super().__init__()
        self.q = nn.Linear(16, 16)
        self.table = nn.Embedding(10, 16)

    def forward(self, ids):
        x = self.table(ids)
        b, s, d = x.shape
        q = self.q(x).view(b, s, 4, 4).transpose(1, 2)
        scores = (q @ q.transpose(2, 3)).softmax(-1)
        return (scores @ q).transpose(1, 2).reshape(b, s, d)


@pytest.fixture(scope="module")
def graph():
    return eo.load(Heads(), (torch.zeros(2, 8, dtype=torch.long),))


def found(graph, binding, **how):
    from energy_opt.calibrate.from_model import primitives_of

    return primitives_of(graph, [binding], **how)


def test_each_node_that_runs_is_one(graph) -> None:
    drawn = found(graph, {"batch": 2, "seq": 8})
    assert not drawn.left_out
    kinds = [p.row.kind for p in drawn.primitives if p.row.kernels]
    assert kinds == ["gather", "matmul", "matmul", "softmax", "matmul", "copy"]


def test_work_is_that_of_the_graph(graph) -> None:
    """The oracle is the reader of graphs: totals over all nodes agree at sizes it binds afterwards."""
    binding = {"batch": 3, "seq": 5}
    rows = workload(graph).rows
    from energy_opt.estimators.work import WorkTable

    works = WorkTable(rows)(binding)
    every = found(graph, binding, distinct=False).primitives
    for name in ("matmul_flops", "other_flops", "bytes_read", "bytes_written", "weight_bytes"):
        expected = sum(float(getattr(work, name)) * work.count for work in works)
        assert sum(float(getattr(p.work, name)) for p in every) == pytest.approx(expected)


def test_operands_lie_as_they_do_in_the_model(graph) -> None:
    products = [
        p for p in found(graph, {"batch": 2, "seq": 8}).primitives if p.op == "aten::matmul"
    ]
    queries, keys = products[0].inputs
    # [2, 8, 4, 4] with its middle axes changed places: 8 * 16 a batch, 4 a head, 16 a position, 1 a feature
    assert queries.strides == (128, 4, 16, 1)
    assert keys.strides == (128, 4, 1, 16)
    copy = next(p for p in found(graph, {"batch": 2, "seq": 8}).primitives if p.row.kind == "copy")
    assert copy.inputs[0].strides == (
        128,
        4,
        32,
        1,
    )  # [2, 8, 4, 4] of memory in the order [2, 4, 8, 4]


def test_indices_are_places_in_the_table(graph) -> None:
    lookup = found(graph, {"batch": 2, "seq": 8}).primitives[0]
    assert lookup.op == "aten::embedding"
    assert lookup.inputs[1].high == 10
    assert lookup.inputs[0].role == "weight"


def test_sizes_add_up_and_equal_ones_count_once(graph) -> None:
    from energy_opt.calibrate.from_model import primitives_of

    one = primitives_of(graph, [{"batch": 1, "seq": 4}])
    twice = primitives_of(graph, [{"batch": 1, "seq": 4}, {"batch": 1, "seq": 4}])
    other = primitives_of(graph, [{"batch": 1, "seq": 4}, {"batch": 1, "seq": 6}])
    assert [p.key for p in twice.primitives] == [p.key for p in one.primitives]
    assert len(other.primitives) > len(one.primitives)


def test_what_cannot_be_run_is_named() -> None:
    import pathlib

    path = pathlib.Path(__file__).parents[1] / "data" / "distilbert_23.onnx"
    drawn = found(eo.load(str(path)), {})
    assert not drawn.primitives
    assert any("ONNX" in reason for reason in drawn.left_out.values())

"""from_trace: a trace beside the prediction, by kind of work and by module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from energy_opt.errors import UsageError  # noqa: E402
from energy_opt.measure.traces import Piece, Scope  # noqa: E402
from energy_opt.measure.traces.modules import Node, by_order, by_scope  # noqa: E402
from energy_opt.studies.from_trace import from_trace  # noqa: E402
from tests.measure.traces import gpu  # noqa: E402
from tests.measure.traces.test_read import written  # noqa: E402


class Net(nn.Module):
    """What `tests/measure/traces/gpu.py` is a trace of."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(32, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x).relu()


def read(path: Path, batch: int = 1, **options: Any) -> dict[str, Any]:
    return from_trace(path, Net(), torch.zeros(batch, 32), **options).to_dict()


@pytest.mark.parametrize("form", ["json", "sqlite"])
def test_an_iteration_by_kind_and_module(tmp_path: Path, form: str) -> None:
    path = gpu.nsys(tmp_path / "t.sqlite") if form == "sqlite" else written(tmp_path, gpu.events())
    answer = read(path, device="t4")
    trace = answer["trace"]
    assert trace["iterations"] == 2
    assert trace["device_s"] == pytest.approx(50e-6)
    assert trace["mapped_share"] == pytest.approx(46 / 50)
    assert [(row["name"], row["share"]) for row in trace["unmapped"]] == [
        (gpu.STRAY, pytest.approx(4 / 50))
    ]
    kinds = {row["kind"]: row for row in trace["kinds"]}
    assert kinds["matmul"]["latency_s"] == pytest.approx(40e-6)
    assert kinds["elementwise"]["latency_s"] == pytest.approx(6e-6)
    assert kinds["matmul"]["predicted_latency_s"] > 0
    modules = {row["path"]: row["latency_s"] for row in answer["modules"]}
    assert modules == pytest.approx({"": 50e-6, "fc": 40e-6})
    assert trace["modules_by"] == "scopes"
    assert trace["module_share"] == pytest.approx(46 / 50)
    assert answer["measured"]["energy_j"] is None


def test_sizes_are_read_from_the_recorded_shapes(tmp_path: Path) -> None:
    path = written(tmp_path, gpu.events())
    assert read(path, device="t4")["dims"] == {"batch": 4}
    assert any("batch=4 was read" in note for note in read(path)["notes"])
    given = read(path, dims={"batch": 9})
    assert given["dims"] == {"batch": 9}
    assert any("have the shapes of the model at batch=9" in note for note in given["notes"])


def test_without_a_device_or_model_there_is_no_prediction(tmp_path: Path) -> None:
    path = written(tmp_path, gpu.events())
    assert read(path)["predicted"] is None
    alone = from_trace(path).to_dict()
    assert alone["modules"] == []
    assert alone["trace"]["kinds"][0]["kind"] == "matmul"


def test_a_summary_has_to_be_told_how_many_inferences_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_text('"Total Time (ns)","Name"\n8000,my_gemm\n')
    with pytest.raises(UsageError, match="--iterations N"):
        from_trace(path)
    with pytest.raises(UsageError, match="at least 1"):
        from_trace(path, iterations=0)
    answer = from_trace(path, iterations=4).to_dict()
    assert answer["trace"]["device_s"] == pytest.approx(2e-6)
    assert answer["trace"]["mapped_share"] == 0
    assert answer["trace"]["kinds"][0]["by_kernel_name_s"] == pytest.approx(2e-6)


@pytest.mark.parametrize("stack", [True, False])
def test_pytorchs_own_trace_by_module(tmp_path: Path, stack: bool) -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.norm = nn.Linear(32, 32), nn.LayerNorm(32)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm(self.fc(x) + x)

    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList([Block(), Block()])
            self.head = nn.Linear(32, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for block in self.blocks:
                x = block(x)
            return self.head(x)

    model = Deep().eval()
    activities = [torch.profiler.ProfilerActivity.CPU]
    with (
        torch.no_grad(),
        torch.profiler.profile(
            activities=activities, record_shapes=True, with_stack=stack
        ) as profile,
    ):
        for _ in range(2):
            model(torch.randn(6, 32))
    path = tmp_path / "t.json"
    profile.export_chrome_trace(str(path))
    found = from_trace(path, model, torch.zeros(1, 32), device="xeon-ice-lake", iterations=2)
    answer = found.to_dict()
    assert answer["trace"]["modules_by"] == ("scopes" if stack else "order")
    rows = {row["path"]: row for row in answer["modules"]}
    for leaf in ("blocks.0.fc", "blocks.0.norm", "blocks.1.fc", "blocks.1.norm", "head"):
        assert rows[leaf]["latency_s"] > 0
        assert rows[leaf]["predicted_latency_s"] > 0
    children = rows["blocks.1.fc"]["latency_s"] + rows["blocks.1.norm"]["latency_s"]
    assert children < rows["blocks.1"]["latency_s"] < rows[""]["latency_s"]


# -- mapping to modules ----------------------------------------------------------------------------------------------

MODULES = {"": "Net", "layers": "ModuleList", "layers.0": "Block", "layers.0.a": "Linear", "layers.0.b": "Linear",
           "layers.1": "Block", "layers.1.a": "Linear", "layers.1.b": "Linear", "head": "Linear"}  # fmt: skip
ORDER = ["layers.0.b", "layers.0.a", "layers.1.b", "layers.1.a", "head"]  # b runs before a


def chain(*names: str) -> tuple[Scope, ...]:
    return tuple(Scope(name.rpartition("_")[0] or name, name) for name in names)


def test_instances_are_matched_in_the_order_in_which_the_model_computes() -> None:
    chains = [
        chain("Net_0", "Block_0", "Linear_0"),
        chain("Net_0", "Block_0", "Linear_1"),
        chain("Net_0", "Block_1", "Linear_2"),
        chain("Net_0", "Linear_4"),
        chain("Net_0", "Block_0"),
    ]
    found = by_scope([Piece("k", 1.0, scopes=each) for each in chains], MODULES, ORDER)
    assert [found[each] for each in chains] == [
        "layers.0.b",
        "layers.0.a",
        "layers.1.b",
        "head",
        "layers.0",
    ]


def test_what_is_around_or_not_of_the_model_is_passed_over() -> None:
    around = chain("Trainer_0", "Net_0", "Dropout_0", "Linear_0")
    found = by_scope([Piece("k", 1.0, scopes=around)], MODULES, ORDER)
    assert found[around] == "head"  # a Linear of the Net itself
    assert by_scope([Piece("k", 1.0, scopes=chain("Other_0"))], MODULES, ORDER) == {}


def test_a_range_that_is_a_path_is_that_module() -> None:
    named = (Scope("layers.1.a", "layers.1.a"),)
    assert by_scope([Piece("k", 1.0, scopes=named)], MODULES, ORDER) == {named: "layers.1.a"}


def test_calls_are_aligned_by_name_and_what_differs_is_left_out() -> None:
    nodes = [Node("aten::linear", "a"), Node("aten::relu", "b"), Node("aten::linear", "c")]
    ops = ["aten::linear", "aten::to", "aten::relu_", "aten::linear"] * 2
    pieces = [Piece(op, 1.0, op=op, call=i) for i, op in enumerate(ops)]
    assert by_order(pieces, nodes, 2) == {0: "a", 2: "b", 3: "c", 4: "a", 6: "b", 7: "c"}
    assert by_order(pieces, nodes, 3) == {}  # eight calls are not three equal inferences

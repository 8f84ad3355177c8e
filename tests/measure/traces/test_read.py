"""Traces in their true formats: what is read, what it is mapped to, and what is refused."""

from __future__ import annotations

import gzip
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from energy_opt.errors import UsageError
from energy_opt.measure.traces import Recorded, read_trace
from tests.measure.traces import gpu


def written(folder: Path, events: list[Any], name: str = "trace.json") -> Path:
    text = json.dumps({"schemaVersion": 1, "deviceProperties": [], "traceEvents": events}).encode()
    path = folder / name
    path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    return path


def by_op(trace: Recorded) -> dict[str, float]:
    found: dict[str, float] = {}
    for piece in trace.pieces:
        found[piece.op] = found.get(piece.op, 0.0) + piece.seconds * 1e6
    return found


@pytest.mark.parametrize("form", ["trace.json", "trace.json.gz", "sqlite"])
def test_kernels_are_mapped_to_the_outermost_operator(tmp_path: Path, form: str) -> None:
    trace = read_trace(
        gpu.nsys(tmp_path / "t.sqlite")
        if form == "sqlite"
        else written(tmp_path, gpu.events(), form)
    )
    assert trace.device == "cuda"
    assert trace.iterations == 2
    # 2 iterations of 30 + 10 (both of the linear), 6 and 4; what ran before the first step is left out.
    assert by_op(trace) == pytest.approx({"aten::linear": 80, "aten::relu": 12, "": 8})
    assert trace.unmapped() == pytest.approx({gpu.STRAY: 8e-6})
    assert trace.wall_s == pytest.approx(2 * 900e-6)


@pytest.mark.parametrize("form", ["json", "sqlite"])
def test_shapes_and_modules_come_with_the_operators(tmp_path: Path, form: str) -> None:
    trace = read_trace(
        gpu.nsys(tmp_path / "t.sqlite") if form == "sqlite" else written(tmp_path, gpu.events())
    )
    gemm = next(piece for piece in trace.pieces if piece.name == gpu.GEMM)
    assert gemm.shapes == ((4, 32), (16, 32), (16,))
    assert [scope.type for scope in gemm.scopes] == ["Net", "Linear"]
    relu = next(piece for piece in trace.pieces if piece.name == gpu.RELU)
    assert [scope.type for scope in relu.scopes] == ["Net"]


def test_without_launches_the_external_id_maps_a_kernel(tmp_path: Path) -> None:
    events = [
        event for event in gpu.events() if event.get("cat") not in ("cuda_runtime", "cuda_driver")
    ]
    assert by_op(read_trace(written(tmp_path, events)))["aten::linear"] == pytest.approx(80)


def test_without_ranges_kernels_have_no_operator_and_that_is_said(tmp_path: Path) -> None:
    trace = read_trace(gpu.nsys(tmp_path / "t.sqlite", nvtx=False))
    assert by_op(trace).keys() == {""}
    assert "emit_nvtx" in trace.notes[0]
    assert trace.iterations == 0
    assert {piece.kind for piece in trace.pieces} == {
        "matmul",
        "reduction",
        "elementwise",
        "other",
    } - {"reduction"}


def test_correlation_ids_of_another_process_are_another_launch(tmp_path: Path) -> None:
    # The stray kernel's id, 123, is also that of a launch of another process; its own is under no operator.
    path = gpu.nsys(tmp_path / "t.sqlite")
    base = sqlite3.connect(path)
    base.execute("DELETE FROM CUPTI_ACTIVITY_KIND_RUNTIME WHERE globalTid = ?", (100 << 24 | 7,))
    base.commit()
    base.close()
    with pytest.raises(UsageError, match="no kernels in it"):  # none was launched within a step
        read_trace(path)


def test_a_summary_by_kernel_has_seconds_and_kinds(tmp_path: Path) -> None:
    path = tmp_path / "stats.csv"
    path.write_text(
        "Processing [t.sqlite] with [cuda_gpu_kern_sum.py]...\n\n"
        '"Time (%)","Total Time (ns)","Instances","Avg (ns)","Med (ns)","Min (ns)","Max (ns)","StdDev (ns)","Name"\n'
        f"75.0,60000,2,30000.0,30000.0,30000,30000,0.0,{gpu.GEMM}\n"
        f'25.0,20000,2,10000.0,10000.0,10000,10000,0.0,"{gpu.SPLIT}"\n'
    )
    trace = read_trace(path)
    assert [(p.name, p.seconds) for p in trace.pieces] == [
        (gpu.GEMM, pytest.approx(6e-5)),
        (gpu.SPLIT, pytest.approx(2e-5)),
    ]
    assert trace.iterations == 0
    assert trace.pieces[0].kind == "matmul"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.json", b"{", "was it cut off"),
        ("a.json", b'{"a": 1}', "no list of traceEvents"),
        ("a.json", b'{"traceEvents": []}', "no operators or kernels"),
        (
            "a.json",
            b'{"traceEvents": [1, null, {"ph": "X", "cat": "cpu_op", "name": "aten::mm"}]}',
            "no operators",
        ),
        ("a.json.gz", b"\x1f\x8b\x08rubbish", "cannot be read"),
        ("a.sqlite", b"SQLite format 3\0" + b"x" * 100, "cannot be read as an export"),
        ("a.nsys-rep", b"rubbish", "nsys export"),
        ("a.txt", b"hello", "no trace that is known"),
        ("a.csv", b"Total Time,x\n", "no columns"),
    ],
)
def test_what_is_no_trace_is_refused_in_one_line(
    tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UsageError, match=says) as caught:
        read_trace(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_trace(tmp_path / "none.json")


def test_an_sqlite_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    base = sqlite3.connect(path)
    base.execute("CREATE TABLE people (name TEXT)")
    base.commit()
    base.close()
    with pytest.raises(UsageError, match="without CUPTI_ACTIVITY_KIND_KERNEL"):
        read_trace(path)


# -- PyTorch's own -----------------------------------------------------------------------------------------------------


def test_a_trace_that_pytorch_wrote_on_a_cpu(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Linear(32, 16), torch.nn.ReLU()).eval()
    x = torch.randn(4, 32)
    activities = [torch.profiler.ProfilerActivity.CPU]
    with (
        torch.no_grad(),
        torch.profiler.profile(
            activities=activities, record_shapes=True, with_stack=True
        ) as profile,
    ):
        for _ in range(3):
            net(x)
    path = tmp_path / "cpu.json.gz"
    profile.export_chrome_trace(str(path))
    trace = read_trace(path)
    assert trace.device == "cpu"
    assert trace.iterations == 3  # calls of the outermost module
    assert [piece.op for piece in trace.pieces] == ["aten::linear", "aten::relu"] * 3
    assert trace.pieces[0].shapes == ((4, 32), (16, 32), (16,))
    assert [scope.type for scope in trace.pieces[0].scopes] == ["Sequential", "Linear"]
    assert 0 < trace.seconds <= trace.wall_s

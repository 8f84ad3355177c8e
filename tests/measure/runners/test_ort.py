"""ONNX Runtime: files with and without their weights, inputs, and times by node."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.reference
import pytest
from onnx import TensorProto, helper, numpy_helper

pytest.importorskip("onnxruntime")

from energy_opt.errors import ModelError, UsageError
from energy_opt.frontend.strip import strip
from energy_opt.measure.runners.ort import InputSpec, OrtRunner, draw, node_times
from energy_opt.measure.runners.target import Target
from energy_opt.measure.runners.weights import runnable

CPU = Target("cpu", "cpu", "a CPU")
WIDE = 64


def written(folder: Path) -> Path:
    """x -> BatchNorm(x @ weight) + bias, its weights in the file."""
    random = np.random.default_rng(1)
    shapes = {
        "weight": (WIDE, WIDE),
        "scale": WIDE,
        "shift": WIDE,
        "mean": WIDE,
        "var": WIDE,
        "bias": WIDE,
    }
    weights = {
        name: np.abs(random.standard_normal(shape)).astype(np.float32)
        for name, shape in shapes.items()
    }
    nodes = [
        helper.make_node("MatMul", ["x", "weight"], ["y"], name="/fc/MatMul"),
        helper.make_node(
            "BatchNormalization", ["y", "scale", "shift", "mean", "var"], ["z"], name="/bn/Norm"
        ),
        helper.make_node("Add", ["z", "bias"], ["out"], name="/fc/Add"),
    ]
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", WIDE])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["batch", WIDE])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = folder / "model.onnx"
    onnx.save(model, str(path))
    return path


def feeds(batch: int = 2) -> dict[str, np.ndarray]:
    return draw({"x": InputSpec((batch, WIDE), "float32")})


def test_a_file_with_its_weights_is_run_as_it_is(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert runnable(path, tmp_path).path == path
    runner = OrtRunner(path, feeds(), CPU)
    expected = onnx.reference.ReferenceEvaluator(str(path)).run(None, feeds())[0]
    assert np.allclose(runner.run()[0], expected, rtol=1e-4, atol=1e-4)
    assert runner.notes == []
    runner.close()


def test_weights_that_were_stripped_are_random_and_keep_activations_finite(tmp_path: Path) -> None:
    light = tmp_path / "light.onnx"
    strip(written(tmp_path), light)
    before = light.read_bytes()
    runner = OrtRunner(light, feeds(), CPU)
    out = runner.run()[0]
    assert np.isfinite(out).all()
    assert out.std() > 0
    assert any("random" in note for note in runner.notes)
    runner.close()
    assert light.read_bytes() == before


def test_only_the_weights_that_lack_are_random(tmp_path: Path) -> None:
    path = written(tmp_path)
    model = onnx.load(str(path))
    big = next(tensor for tensor in model.graph.initializer if tensor.name == "weight")
    original = numpy_helper.to_array(big)
    onnx.save(model, str(path), save_as_external_data=True, location="w.bin", size_threshold=100)
    assert runnable(path, tmp_path).random == 0
    lacking = onnx.load(str(path), load_external_data=False)
    for tensor in lacking.graph.initializer:
        if tensor.name == "bias":
            tensor.external_data[0].value = "gone.bin"
    onnx.save(lacking, str(path))
    folder = tmp_path / "copy"
    folder.mkdir()
    made = runnable(path, folder)
    assert made.random == 1
    kept = {t.name: numpy_helper.to_array(t) for t in onnx.load(str(made.path)).graph.initializer}
    assert np.array_equal(kept["weight"], original)


def test_a_norm_lacking_its_parameters_neither_scales_nor_shifts(tmp_path: Path) -> None:
    path = written(tmp_path)
    model = onnx.load(str(path))
    onnx.save(model, str(path), save_as_external_data=True, location="w.bin", size_threshold=0)
    (tmp_path / "w.bin").unlink()
    folder = tmp_path / "copy"
    folder.mkdir()
    made = onnx.load(str(runnable(path, folder).path))
    found = {t.name: numpy_helper.to_array(t) for t in made.graph.initializer}
    for name, value in {"scale": 1, "shift": 0, "mean": 0, "var": 1, "bias": 0}.items():
        assert np.array_equal(found[name], np.full(WIDE, value, np.float32)), name
    assert found["weight"].std() == pytest.approx(0.02, rel=0.1)


def test_inputs_are_those_that_the_model_takes(tmp_path: Path) -> None:
    path = written(tmp_path)
    with pytest.raises(UsageError, match="takes no input 'y'; it takes x"):
        OrtRunner(path, {**feeds(), "y": np.zeros(1)}, CPU)
    with pytest.raises(UsageError, match="no input 'x' was given"):
        OrtRunner(path, {}, CPU)
    runner = OrtRunner(path, {"x": np.zeros((2, 3), np.float32)}, CPU)
    with pytest.raises(ModelError, match="ONNX Runtime failed"):
        runner.run()
    runner.close()


def test_a_gpu_without_its_provider_is_refused(tmp_path: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("there is one here")
    with pytest.raises(UsageError, match="onnxruntime-gpu"):
        OrtRunner(written(tmp_path), feeds(), Target("cuda:0", "gpu", "a GPU"))


def test_drawn_inputs_are_valid() -> None:
    made = draw(
        {
            "input_ids": InputSpec((8, 64), "int64", 50),
            "attention_mask": InputSpec((8, 64), "int64", 2),
            "position_ids": InputSpec((2, 5), "int64", 512),
            "flags": InputSpec((500,), "int32"),
            "pixels": InputSpec((100, 100), "float16"),
        }
    )
    assert 0 <= made["input_ids"].min() <= made["input_ids"].max() < 50
    assert made["attention_mask"].min() == 1
    assert made["position_ids"].tolist() == [[0, 1, 2, 3, 4]] * 2
    assert set(made["flags"].tolist()) == {0, 1}
    assert made["pixels"].dtype == np.float16
    assert made["pixels"].std() > 0.9


def test_every_node_that_runs_is_timed(tmp_path: Path) -> None:
    runner = OrtRunner(written(tmp_path), feeds(), CPU)
    times, optimised = runner.nodes(3)
    assert optimised.is_file()
    assert all(time.latency_s >= 0 for time in times)
    assert any(time.op in ("MatMul", "Gemm", "FusedMatMul") for time in times)
    runner.close()
    assert not optimised.exists()


def test_node_times_leave_out_the_first_run() -> None:
    def event(name: str, micros: int) -> dict[str, object]:
        return {
            "cat": "Node",
            "name": f"{name}_kernel_time",
            "dur": micros,
            "args": {"op_name": "X", "provider": "P"},
        }

    # a runs once, b twice in each of three runs, the first of which is slow; c in one alone.
    events = [event("a", 900), event("b", 500), event("b", 500), event("c", 30)]
    events += [event("a", 10), event("b", 1), event("b", 3)] * 2
    events += [{"cat": "Session", "name": "model_run", "dur": 5}]
    found = {time.name: time.latency_s for time in node_times(events, 3)}
    assert found == pytest.approx({"a": 10e-6, "b": 4e-6, "c": 10e-6})

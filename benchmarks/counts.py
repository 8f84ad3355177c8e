"""Multiply-accumulates of whole models: ours, closed forms, onnx-tool and FlopCounterMode in one run.

    python benchmarks/counts.py                      # the shipped examples
    python benchmarks/counts.py --models DIR         # files named NAME_OPSET.onnx, NAME as in examples/

Make other opsets with `python examples/make_examples.py --opset 23 --out DIR23`. Needs the `torch` extra and
onnx-tool. Every count is divided by the closed form of tests/oracles/macs.py; 1 is right. The peers get what they
ask for: onnx-tool the same file with weights (zeros), in a process of its own, once a file; torch's
FlopCounterMode the same module on the meta device, once as it is configured and once with attention written out
(`eager`).
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import math
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import onnx

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import energy_opt  # noqa: E402
from tests.oracles import macs  # noqa: E402

TEXT = (
    {"batch": 1, "seq": 16},
    {"batch": 1, "seq": 384},
    {"batch": 8, "seq": 16},
    {"batch": 8, "seq": 384},
)
IMAGE = ({"batch": 1}, {"batch": 8})
SPEECH = tuple({"batch": b, "decoder_seq": t} for b in (1, 4) for t in (8, 64))
PAIRS = tuple({"batch": b, "seq": s, "decoder_seq": s // 2} for b in (1, 8) for s in (16, 384))
SIZES = {"resnet50": IMAGE, "vit-b16": IMAGE, "whisper-tiny": SPEECH, "t5-small": PAIRS}
TIMEOUT_S = 300
MOST_WEIGHTS_BYTES = 6e9  # onnx-tool reads all weights into memory


def oracle(name: str, sizes: dict[str, int]) -> int:
    """MACs by the closed form."""
    count: Callable[..., int] = getattr(macs, name.replace("-", "_"))
    return count(**sizes)


def ours(path: Path, sizes: dict[str, int]) -> float:
    """MACs by energy-opt."""
    totals = energy_opt.analyze(path, device="t4", **sizes).to_dict()["totals"]
    return float(totals["macs"])


@cache
def example_maker() -> ModuleType:
    """examples/make_examples.py as a module."""
    spec = importlib.util.spec_from_file_location(
        "make_examples", ROOT / "examples/make_examples.py"
    )
    if spec is None or spec.loader is None:
        raise ImportError("examples/make_examples.py is missing")
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_examples"] = module
    spec.loader.exec_module(module)
    return module


def inputs_of(name: str, sizes: dict[str, int]) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and type of each input of the graph."""
    batch, seq = sizes["batch"], sizes.get("seq", 0)
    if name in ("resnet50", "vit-b16"):
        return {"pixel_values": ((batch, 3, 224, 224), "float32")}
    if name == "whisper-tiny":
        mel = ((batch, 80, 3000), "float32")
        return {
            "input_features": mel,
            "decoder_input_ids": ((batch, sizes["decoder_seq"]), "int64"),
        }
    ids = ((batch, seq), "int64")
    if name == "t5-small":
        return {"input_ids": ids, "decoder_input_ids": ((batch, sizes["decoder_seq"]), "int64")}
    return {"input_ids": ids, "attention_mask": ids}


@cache
def meta_module(name: str, attention: str | None) -> Any:
    """The example's module on the meta device."""
    settings = {"attn_implementation": attention} if attention and name != "resnet50" else {}
    maker = example_maker().EXAMPLES[name]
    try:
        example = maker(**settings)
    except TypeError:  # t5-small is eager anyway
        example = maker()
    return example.module.to("meta")


def flop_counter(name: str, sizes: dict[str, int], attention: str | None) -> float:
    """MACs by torch's FlopCounterMode; masks are given whole, since building them reads values."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    feed = {
        key: torch.empty(shape, dtype=getattr(torch, dtype), device="meta")
        for key, (shape, dtype) in inputs_of(name, sizes).items()
        if key != "attention_mask"
    }
    if name in ("gpt2", "llama-1b", "mixtral"):
        square = (sizes["batch"], 1, sizes["seq"], sizes["seq"])
        feed["attention_mask"] = torch.empty(square, device="meta")
    if name == "whisper-tiny":
        square = (sizes["batch"], 1, sizes["decoder_seq"], sizes["decoder_seq"])
        feed["decoder_attention_mask"] = torch.empty(square, device="meta")
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        meta_module(name, attention)(**feed)
    return counter.get_total_flops() / 2


def with_zero_weights(path: Path, folder: Path) -> Path:
    """A copy of the model whose weights are there: zeros, in a sparse file."""
    model = onnx.load(path, load_external_data=False)
    offset = 0
    for tensor in model.graph.initializer:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        length = (
            math.prod(tensor.dims) * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        )
        del tensor.external_data[:]
        for key, value in (("location", "zeros"), ("offset", str(offset)), ("length", str(length))):
            tensor.external_data.add(key=key, value=value)
        offset += -(-length // 4096) * 4096
    with open(folder / "zeros", "wb") as file:
        file.truncate(max(offset, 1))
    target = folder / path.name
    onnx.save(model, target)
    return target


def onnx_tool_child(path: str, inputs: dict[str, Any]) -> None:
    """Count with onnx-tool in this process; the last line is a JSON number."""
    import numpy as np
    import onnx_tool

    with contextlib.redirect_stdout(io.StringIO()):
        model = onnx_tool.loadmodel(path, {"verbose": False})
        model.graph.shape_infer(
            {key: np.zeros(shape, dtype) for key, (shape, dtype) in inputs.items()}
        )
        model.graph.profile()
    print(json.dumps(float(model.graph.macs[0])))


def last_error(stderr: str) -> str:
    """The name of the error that ended a child; "killed" where it says nothing."""
    names = [
        line.split(":")[0]
        for line in stderr.splitlines()
        if re.match(r"\w*(Error|Exception)", line)
    ]
    return names[-1][:18] if names else "killed"


def onnx_tool(name: str, path: Path, sizes: dict[str, int]) -> float | str:
    """MACs by onnx-tool, or why there are none."""
    weights_bytes = path.with_name("zeros").stat().st_size
    if weights_bytes > MOST_WEIGHTS_BYTES:
        return f"needs {weights_bytes / 1e9:.0f} GB"
    command = [
        sys.executable,
        __file__,
        "--onnx-tool",
        str(path),
        json.dumps(inputs_of(name, sizes)),
    ]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"over {TIMEOUT_S} s"
    if done.returncode:
        return last_error(done.stderr)
    return float(done.stdout.strip().splitlines()[-1])


def attempt(count: Callable[[], float | str]) -> tuple[float | str, float]:
    """A count and the seconds it took; an error's name where it fails."""
    start = time.perf_counter()
    try:
        result = count()
    except Exception as error:  # noqa: BLE001  a peer may fail in any way; the table says how
        result = type(error).__name__
    return result, time.perf_counter() - start


def files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Model files and the examples that they are."""
    for path in sorted(folder.glob("*.onnx")):
        name = path.stem.rpartition("_")[0] if path.stem.rpartition("_")[2].isdigit() else path.stem
        if hasattr(macs, name.replace("-", "_")):
            yield name, path


def cell(result: float | str, truth: int) -> str:
    """The count over the closed form, or what went wrong."""
    return result if isinstance(result, str) else f"{result / truth:.4f}"


def main() -> int:
    """Print the table; 1 where one of our counts is off by more than 0.1 %."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, default=ROOT / "examples")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--onnx-tool", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.onnx_tool:
        onnx_tool_child(arguments.onnx_tool[0], json.loads(arguments.onnx_tool[1]))
        return 0
    titles = ("ours", "onnx-tool", "FlopCounter", "its eager")
    print(
        f"{'model':14} {'opset':>5} {'dims':28} {'closed form MACs':>20}",
        *(f"{t:>18}" for t in titles),
    )
    worst = 0.0
    for name, path in files(arguments.models):
        opset = onnx.load(path, load_external_data=False).opset_import[0].version
        with tempfile.TemporaryDirectory() as folder:
            whole = path if arguments.no_peers else with_zero_weights(path, Path(folder))
            for index, sizes in enumerate(SIZES.get(name, TEXT)):
                tool = whole if index == 0 else None  # seconds a run, and the same at every size
                worst = max(worst, row(name, path, tool, opset, sizes, not arguments.no_peers))
    print(f"our worst error: {worst:.2%}")
    return int(worst > 1e-3)


def row(
    name: str, path: Path, whole: Path | None, opset: int, sizes: dict[str, int], peers: bool
) -> float:
    """Print one row; returns our error relative to the closed form."""
    truth = oracle(name, sizes)
    counts: list[Callable[[], float | str]] = [lambda: ours(path, sizes)]
    if peers:
        counts += [
            lambda: "" if whole is None else onnx_tool(name, whole, sizes),
            lambda: flop_counter(name, sizes, None),
            lambda: flop_counter(name, sizes, "eager"),
        ]
    results = [attempt(count) for count in counts]
    dims = " ".join(f"{key}={size}" for key, size in sizes.items())
    cells = (f"{cell(result, truth)} {seconds:6.2f}s" for result, seconds in results)
    print(f"{name:14} {opset:5} {dims:28} {truth:20,}", *(f"{c:>18}" for c in cells), flush=True)
    result = results[0][0]
    return math.inf if isinstance(result, str) else abs(result / truth - 1)


if __name__ == "__main__":
    raise SystemExit(main())

"""A CUDA GPU calibrated, and checked on whole models that calibration never saw; in chunks that go on from the last.

    python benchmarks/gpu.py --out DIR [--target cuda:0] [--budget 8m] [--chunk 9m] [--dry-run] [--json FILE]

The first run calibrates (operators, energy, idle, host costs), the next ones time and meter the model cells (bert-base,
gpt2 prefill and decode, ResNet-50, a Llama of 1B; three sizes; fp32, tf32, bf16; as captured graphs and op by op),
until all is done; each run ends by itself within `--chunk` and says whether another is needed (exit code 3). All that
was measured is in DIR, which may be carried to another machine of the same kind between runs. Then latency, power and
energy of every cell stand beside what the profile predicted for it: `profile.json`, `profile.samples.jsonl` (compress
it to keep it), `cells.jsonl`.

With `--report` the last step alone is done, on any machine: timing needs neither graphs nor a predictor.

Needs `pip install -e '.[torch,gpu]'`, or the checkout on PYTHONPATH and what `--check` names. Nothing is ever set on
the GPU. `--dry-run` is the same without a GPU: a replayed board, operators run once on the CPU, tiny models.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from energy_opt.calibrate.gpu import GpuBackend

NEEDED = (
    "numpy", "scipy", "pandas", "statsmodels", "patsy", "pydantic", "onnx", "onnx_ir", "sympy", "networkx", "torch",
    "transformers",
)  # fmt: skip
GRAPHS = "onnx_shape_inference"
"""What only the comparison needs, since it follows graphs."""
_PACKAGES = {
    "onnx_shape_inference": "onnx-shape-inference",
    "onnx_ir": "onnx-ir",
    "pynvml": "nvidia-ml-py",
}
AGAIN = 3
"""Exit code: there is more to do, run it again."""
CELL_S = 25.0
"""No cell is begun with less than this left of a chunk: the largest is built, captured and metered in it."""


def check(*, metered: bool) -> list[str]:
    """What is missing to run this; prints what is there."""
    missing = []
    for name in (*NEEDED, *(["pynvml"] if metered else [])):
        package = _PACKAGES.get(name, name)
        if importlib.util.find_spec(name) is None:
            missing.append(package)
            continue
        print(f"{package} {importlib.metadata.version(package)}", file=sys.stderr)
    return missing


def seconds(text: str) -> float:
    """`8m`, `90s` or a number of seconds."""
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    return float(text[:-1]) * units[text[-1]] if text[-1] in units else float(text)


class Session:
    """One run of this script: where it keeps things, and how much time is left."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.out: Path = options.out
        self.out.mkdir(parents=True, exist_ok=True)
        self.profile = self.out / "profile.json"
        self.ends_s = time.monotonic() + seconds(options.chunk)
        self.budget_s = seconds(options.budget)

    def left_s(self) -> float:
        return self.ends_s - time.monotonic()

    def target(self) -> tuple[Any, Any, Any]:
        """Backend, points and anchors: of the GPU, or of one that is not there."""
        if not self.options.dry_run:
            from energy_opt.calibrate.gpu import open_target

            index = int(self.options.target.partition(":")[2] or 0)
            return open_target(index, force=self.options.force)
        from energy_opt.calibrate.draw import Means
        from energy_opt.calibrate.fake_accelerator import FakeAccelerator
        from energy_opt.calibrate.gpu import GpuBackend
        from energy_opt.calibrate.gpu_points import anchors, points
        from energy_opt.measure.meters.nvml import NvmlMeter

        small = Means(2e7, 4e5, 2)
        on = FakeAccelerator()
        backend = GpuBackend(on, NvmlMeter(nvml=on.nvml, environ={}), pool_megabytes=16)
        return backend, points(means=small, scale=self.options.scale), anchors(small)

    def opened(self) -> GpuBackend:
        """The backend alone."""
        backend: GpuBackend = self.target()[0]
        return backend


def show(progress: Any) -> None:
    """A line now and then."""
    if progress.total and progress.done % 25 == 0:
        left = "" if progress.left_s is None else f", {progress.left_s:.0f} s left"
        print(
            f"{progress.phase} {progress.done}/{progress.total}: {progress.what}{left}",
            file=sys.stderr, flush=True,
        )  # fmt: skip


def calibrated(session: Session) -> bool:
    """Calibrate as far as the chunk allows; whether it is done."""
    from energy_opt.calibrate import checkpoint
    from energy_opt.calibrate.run import calibrate_device, log_path

    log = log_path(session.profile)
    spent_s = 0.0
    if log.exists() and not session.options.fresh:
        header, lines = checkpoint.read(log)
        spent_s = max((line.get("spent_s", 0.0) for line in lines), default=0.0)
        visits = sum("visit" in line for line in lines)
        if session.profile.exists() and (
            visits >= header["visits"] or spent_s > 0.8 * session.budget_s
        ):
            return True
    backend, points, anchors = session.target()
    budget_s = session.budget_s
    if not session.options.dry_run:  # whose clock is not ours
        budget_s = min(budget_s, spent_s + session.left_s() - 20.0)
    device = calibrate_device(
        session.options.target, output=session.profile, budget_s=budget_s, backend=backend, points=points,
        anchors=anchors, resume=not session.options.fresh, progress=show,
    )  # fmt: skip
    assert device.calibration is not None
    print(
        f"calibrated: {device.calibration.points} points, {len(device.fits)} fits", file=sys.stderr
    )
    return budget_s >= session.budget_s


def measured(session: Session) -> bool:
    """Time and meter the cells that are not in the log yet; whether all are."""
    import gpu_cells as gc

    from energy_opt.calibrate.accelerator import libraries
    from energy_opt.calibrate.backend import Unrunnable
    from energy_opt.calibrate.checkpoint import Checkpoint

    only = set(filter(None, session.options.only.split(",")))
    cells = [c for c in gc.cells(tiny=session.options.dry_run) if not only or c.model in only]
    header = {
        "target": session.options.target,
        "runtime": "eager",
        "versions": libraries(),
        "cells": len(cells),
    }
    with Checkpoint.open(session.out / "cells.jsonl", header, fresh=session.options.fresh) as log:
        done = {(line["cell"], line["mode"]) for line in log.lines}
        wanted = [(c, mode) for c in cells for mode in gc.MODES if (c.key, mode) not in done]
        if not wanted:
            return True
        backend = session.opened()
        backend.facts()
        try:
            for number, (cell, mode) in enumerate(wanted):
                if session.left_s() < CELL_S:
                    return False
                print(
                    f"cell {number + 1}/{len(wanted)}: {cell.key}, {mode}",
                    file=sys.stderr,
                    flush=True,
                )
                try:
                    timing: Any = gc.measured(cell, mode, backend.on, backend)
                except Unrunnable as error:
                    timing = error
                log.append(gc.line_of(cell, mode, timing))
        finally:
            backend.close()
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--target", default="cuda:0")
    parser.add_argument("--budget", default="8m")
    parser.add_argument("--chunk", default="9m")
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument(
        "--scale", type=float, default=0.25, help="of a dry run: share of the points"
    )
    parser.add_argument("--force", action="store_true", help="measure although the GPU is busy")
    parser.add_argument("--fresh", action="store_true", help="throw away what DIR holds")
    parser.add_argument("--only", default="", help="these models, separated by commas")
    parser.add_argument("--report", action="store_true", help="compare what DIR holds, no timing")
    parser.add_argument(
        "--check", action="store_true", help="only say what is installed and what is missing"
    )
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if missing := check(metered=not (options.dry_run or options.report)):
        sys.exit(f"missing: {', '.join(missing)}; pip install {' '.join(missing)}")
    if options.check:
        return
    from energy_opt.errors import EnergyOptError

    session = Session(options)
    try:
        if not options.report and not (calibrated(session) and measured(session)):
            print(f"not done yet: run it again with --out {options.out}", file=sys.stderr)
            sys.exit(AGAIN)
        if importlib.util.find_spec(GRAPHS) is None:
            print(
                f"all is timed; for the comparison run --report where {_PACKAGES[GRAPHS]} is installed",
                file=sys.stderr,
            )
            return
        import gpu_report

        rows = gpu_report.report(session.profile, session.out / "cells.jsonl", tiny=options.dry_run)
    except EnergyOptError as error:
        sys.exit(f"error: {error}")
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()

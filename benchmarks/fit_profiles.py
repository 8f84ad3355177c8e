"""Fit the GPU profiles that ship to public measurements of operators; whatever these do not cover stays as it was.

    python benchmarks/fit_profiles.py --data DIR [--device NAME] [--write energy_opt/estimators/profiles]

Reads the tables of NeuSight (float32), vidur (float16) and aiconfigurator (bf16, fp8, nvfp4; with power on Blackwell)
in DIR; every device that has a profile gets the fits that its tables allow. Errors are those on shapes that were left
out. Where a table holds several serving frameworks, one names a fit: its kernels are what was timed. Without --write
it prints only.
"""

from __future__ import annotations

import argparse
import datetime
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import measured
import numpy as np
from measured import Group
from ops_attention import attention, collectives, moe
from ops_gemm import products
from ops_models import fits as of_neusight
from power_fits import energy_fits

from energy_opt.calibrate.fit import chip_of, fit_time
from energy_opt.calibrate.fit_all import box_of, join
from energy_opt.calibrate.profile import assemble, write
from energy_opt.calibrate.samples import Samples
from energy_opt.estimators.device import Calibration, Device
from energy_opt.estimators.fitted import Fitted, family
from energy_opt.estimators.regimes import regime_of

POINTS = 1000
SOURCES = {
    "neusight": "NeuSight (Lee et al., ASPLOS 2025): operators in float32 without TF32, PyTorch 2.1 eager",
    "vidur": "vidur (Agrawal et al., MLSys 2024): float16 operators of LLM layers",
    "aiconfigurator": "NVIDIA aiconfigurator: operators as {framework} runs them",
    "aiconfigurator-power": "NVIDIA aiconfigurator: operators and board power as {framework} runs them",
}
FRAMEWORKS = ("vllm", "trtllm", "nccl", "")
"""Whose kernels stand for a kind where several were timed: the first that was."""

SKIPPED = ("block", "narrow", "int4_wo", "w4a16", "w4a8", "int8")
"""Schemes of weights or caches in a type other than the arithmetic's, or scaled in software: rows do not tell them."""


@dataclass(frozen=True)
class Part:
    """Samples that one fit is made from, and what it is called."""

    device: Device
    table: str
    framework: str
    op: str
    regime: str
    samples: Samples

    @property
    def key(self) -> tuple[str, ...]:
        """What a fit serves."""
        return (self.device.name, self.samples.kind, self.samples.dtype, self.op, self.regime)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--device", action="append", help="only these")
    parser.add_argument(
        "--write", type=Path, metavar="DIR", help="write the profiles into this directory"
    )
    options = parser.parse_args()
    wanted = set(options.device or Device.names())
    found: dict[str, list[Fitted]] = defaultdict(list)
    for name, fits in (*neusight(options.data, wanted), *serving(options.data, wanted)):
        found[name] += fits
    for device, fitted in energy_fits(
        options.data, SOURCES["aiconfigurator-power"].format(framework="several")
    ):
        if device.name in wanted:
            found[device.name].append(fitted)
    for name, fits in sorted(found.items()):
        show(name, fits)
        if options.write:
            write(profile(Device.load(name), fits), options.write / f"{name}.json")


def neusight(data: Path, wanted: set[str]) -> Iterator[tuple[str, list[Fitted]]]:
    """Fits of float32 operators in PyTorch's eager mode, without what launching them one by one takes."""
    groups: dict[str, list[Group]] = defaultdict(list)
    for group in measured.latency_groups(data):
        if group.table == "neusight" and group.device.name in wanted:
            groups[group.device.name].append(group)
    for name, parts in groups.items():
        yield (
            name,
            [
                _named(fitted, SOURCES["neusight"], "eager")
                for fitted in of_neusight(parts, None, 64)
            ],
        )


def serving(data: Path, wanted: set[str]) -> Iterator[tuple[str, list[Fitted]]]:
    """Fits of operators as serving frameworks run them."""
    chosen: dict[tuple[str, ...], list[Part]] = defaultdict(list)
    for part in parts(data):
        if part.device.name in wanted:
            chosen[part.key].append(part)
    for found in chosen.values():
        best = min((part.framework for part in found), key=FRAMEWORKS.index)
        mine = [part for part in found if part.framework == best]
        samples = join([part.samples for part in mine]).sample(POINTS)
        first = mine[0]
        source = SOURCES[first.table].format(framework=best or "PyTorch")
        time = fit_time(
            samples, chip_of(first.device, samples.dtype), source=source, basis="fitted"
        )
        runtime = best or "eager"
        yield (
            first.device.name,
            [
                Fitted(
                    kind=samples.kind, dtype=samples.dtype, op=first.op, regime=first.regime, runtime=runtime,
                    time=time, box=box_of(samples),
                )
            ],
        )  # fmt: skip


def parts(data: Path) -> Iterator[Part]:
    """Every set of samples of the serving tables that rows of a workload can be priced by."""
    blackwell = (g for g in measured.power_groups(data) if g.kind in ("matmul", "quantize"))
    pointwise = (
        g
        for g in measured.latency_groups(data)
        if g.table != "neusight" and g.kind in ("norm", "elementwise", "gather", "quantize")
    )
    groups = (*products(data), *blackwell, *pointwise, *attention(data), *moe(data))
    for group in groups:
        if group.table == "neusight" or any(name in group.op for name in SKIPPED):
            continue
        framework = next((f for f in FRAMEWORKS if f and f in group.op.split()), "")
        if not framework and group.table != "vidur":
            framework = "vllm"
        samples = group.samples
        regimes = np.broadcast_to(regime_of(samples.kind, samples.work.sizes), len(samples))
        for regime in np.unique(regimes):
            part = samples.take(regimes == regime)
            yield Part(group.device, group.table, framework, "", str(regime), part)
    for group in collectives(data):
        if not any(name in group.op for name in SKIPPED):
            framework = "nccl" if group.op.startswith("nccl") else "vllm"
            yield Part(group.device, group.table, framework, family(group.op), "", group.samples)


def profile(device: Device, fits: list[Fitted]) -> Device:
    """The device's profile with these fits in the place of those it had."""
    facts = device.model_copy(update={"fits": ()})
    points = sum(f.time.errors.points for f in fits if f.time is not None)
    made = Calibration(
        date=datetime.date.today().isoformat(), tool="benchmarks/fit_profiles.py", points=points
    )
    return assemble(facts, fits, calibration=made)


def show(name: str, fits: list[Fitted]) -> None:
    print(f"\n{name}")
    for fitted in sorted(fits, key=lambda f: (f.kind, f.dtype, f.op, f.regime)):
        what = " ".join(
            filter(None, (fitted.kind, fitted.op, fitted.regime, fitted.dtype, fitted.runtime))
        )
        for quantity, part in (("latency", fitted.time), ("energy", fitted.energy)):
            if part is not None:
                form = getattr(part, "form", "")
                e = part.errors
                print(
                    f"  {what:55s} {quantity:8s} {form:12s} MAPE {100 * e.mape:5.1f}  P90 {100 * e.p90:5.1f}  "
                    f"bias {100 * e.bias:5.1f}  {e.points} points, {e.groups} shapes"
                )


def _named(fitted: Fitted, source: str, runtime: str) -> Fitted:
    assert fitted.time is not None
    time = fitted.time.model_copy(update={"source": source})
    return fitted.model_copy(update={"time": time, "runtime": runtime})


if __name__ == "__main__":
    main()

"""Fit the priors of GPUs: what is assumed of a device of which only the datasheet is known.

    python benchmarks/fit_priors.py --data DIR [--write]

One set of fractions of datasheet peaks per kind of work, shared by all measured devices; nothing is tuned to a device.
Each device weighs the same. Every device is then left out in turn, with all boards of the same chip and with the
energies that were derived from it, to see how far off the priors are on hardware they have not seen; the spreads of the
intervals come from those errors. `--write` replaces priors/gpu.json.
"""

from __future__ import annotations

import argparse
import datetime
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import measured
import numpy as np
from measured import Group
from scipy.optimize import least_squares

from energy_opt.estimators.coefficients import ENGINE, Tiles
from energy_opt.estimators.device import Device
from energy_opt.estimators.latency import NARROW, RowTime, busy_seconds
from energy_opt.estimators.prior import priors

PRIORS = Path(__file__).parents[1] / "energy_opt" / "estimators" / "priors" / "gpu.json"
NORM = 4
SAMPLE = 600

# Dynamic energies by generation, from public readings of board power (docs/estimators.md has the arithmetic).
TYPES = {
    "vector": {"float64": 2.2, "float32": 1.0},
    "engine": {"tf32": 1.8, "float8": 0.6, "int8": 0.6, "float4": 0.32, "int4": 0.32},
}
GENERATIONS = {
    "sm60": (
        21e-12,
        10.5e-12,
        100e-12,
        "P100: BERT at 0.69 of 250 W over 6.4 TFLOP/s, base 34 W; half precision is packed in pairs",
    ),
    "sm70": (13.3e-12, 2.0e-12, 103e-12, "V100: GEMM at 0.81, streaming at 0.48 of 300 W"),
    "sm75": (13.3e-12, 2.0e-12, 100e-12, "the same process as Volta; not measured"),
    "sm80": (9e-12, 0.95e-12, 110e-12, "A100: sustained 0.95 of TDP; streaming about 0.6"),
    "sm86": (8e-12, 1.8e-12, 100e-12, "A40: near 300 W at the 0.72 of peak that its GEMMs reach"),
    "sm89": (
        4e-12,
        0.9e-12,
        100e-12,
        "L40S: 350 W at the 0.75 of peak that its best GEMMs reach, base 101 W",
    ),
    "sm90": (5e-12, 0.65e-12, 100e-12, "H100: 700 W at the 0.85 of peak that its best GEMMs reach"),
    "sm100": (
        4e-12,
        0.55e-12,
        90e-12,
        "B200: all-in 0.72 pJ/FLOP and 130 pJ/byte at 1000 W, base 242 W",
    ),
}
# The devices that a generation's energies were derived from. Through the power limit these energies enter the times, so
# a device left out of the fit must not keep them: it gets fractions of its TDP, as an unheard-of generation would.
DERIVED_FROM = {
    "sm60": ("p100",),
    "sm70": ("v100",),
    "sm80": ("a100",),
    "sm86": ("a40",),
    "sm89": ("l40s",),
    "sm90": ("h100",),
    "sm100": ("b200", "gb200"),
}
ENERGY = {
    "base": 0.21,
    "cap": 1.0,
    "flop": 0.9,
    "vector": 0.6,
    "byte": 0.4,
    "types": TYPES,
    "generations": {
        name: {"vector_j": v, "engine_j": e, "byte_j": b, "source": source}
        for name, (v, e, b, source) in GENERATIONS.items()
    },
    # A product's coefficients are 23-31 % low on these: special functions and caches cost too.
    "factors": {"attention": 1.3, "softmax": 1.3, "quantize": 1.3},
}

# Per kind: (start, lower, upper) of what is fitted; a single number is fixed for want of evidence.
_UNSEEN = {"compute": 0.6, "tensor": 0.4, "narrow": 0.3}
FREE: dict[str, dict[str, Any]] = {
    "matmul": {
        "compute": (0.9, 0.3, 1),
        "tensor": (0.8, 0.3, 1),
        "narrow": (0.6, 0.2, 1),
        "memory": (0.8, 0.3, 1),
        "vector": 0.5,
        "start_s": (2.5e-6, 0, 1e-5),
        "v.weight": (0.5, 0, 1),
        "v.edge": (4, 0, 10),
        "v.depth": (30, 0, 500),
        "e.weight": (0.5, 0, 1),
        "e.edge": (4, 0, 10),
        "e.depth": (100, 0, 500),
    },
    "conv": {
        "compute": (0.8, 0.3, 1),
        "tensor": 0.5,
        "narrow": 0.3,
        "memory": (0.6, 0.3, 1),
        "vector": 0.5,
        "start_s": (5e-6, 0, 1e-5),
    },
    "attention": {
        "compute": 0.4,
        "tensor": (0.5, 0.1, 1),
        "narrow": (0.4, 0.05, 1),
        "memory": (0.5, 0.1, 1),
        "vector": (0.4, 0.1, 1),
        "start_s": (1e-5, 0, 2e-5),
    },
    "elementwise": _UNSEEN
    | {"memory": (0.8, 0.3, 1), "vector": (0.3, 0.1, 1), "start_s": (2e-6, 0, 1e-5)},
    "softmax": _UNSEEN | {"memory": (0.7, 0.3, 1), "vector": (0.3, 0.1, 1), "start_s": 2e-6},
    "norm": _UNSEEN
    | {"memory": (0.6, 0.3, 1), "vector": (0.3, 0.1, 1), "start_s": (2.5e-6, 0, 1e-5)},
    "gather": _UNSEEN | {"memory": (0.5, 0.1, 1), "vector": 0.3, "start_s": 2.5e-6},
    "quantize": _UNSEEN | {"memory": (0.5, 0.1, 1), "vector": 0.3, "start_s": (2e-6, 0, 1e-5)},
}
# Kinds that no table measures: compute, tensor, narrow, vector, memory, start.
ASSUMED = {
    "other": (0.5, 0.35, 0.25, 0.2, 0.6, 3e-6),
    "copy": (0.6, 0.4, 0.3, 0.3, 0.8, 2e-6),
    "reduction": (0.6, 0.4, 0.3, 0.3, 0.65, 3e-6),
    "pool": (0.6, 0.4, 0.3, 0.3, 0.6, 3e-6),
    "rnn": (0.5, 0.3, 0.2, 0.3, 0.6, 5e-6),
    "moe": (0.6, 0.45, 0.3, 0.3, 0.6, 2e-5),
    "sort": (0.5, 0.35, 0.25, 0.1, 0.2, 1e-5),
    "fft": (0.5, 0.35, 0.25, 0.3, 0.6, 5e-6),
    "scatter": (0.5, 0.35, 0.25, 0.2, 0.4, 3e-6),
}
ASSUMED_SPREAD = 0.35


def seconds(group: Group, values: dict[str, float], unseen: bool = False) -> np.ndarray[Any, Any]:
    """Predicted seconds of the group's executions, the power limit and the harness included."""
    device, work = group.device, group.work
    peak = device.peak(group.dtype)
    engine = peak > ENGINE * device.vector_flops_per_s
    narrow = engine and device.arithmetic(group.dtype) in NARROW
    share = values["narrow" if narrow else "tensor" if engine else "compute"]
    side = "e." if engine else "v."
    at = RowTime(
        peak, device.mem_bw_bytes_per_s, device.units, group.kind in ("matmul", "conv"), NORM,
        Tiles.model_construct(weight=values[side + "weight"], edge=values[side + "edge"], depth=values[side + "depth"]),
        0.0, 1 / (peak * share), 1 / (device.vector_flops_per_s * values["vector"]),
        1 / (device.mem_bw_bytes_per_s * values["memory"]),
    )  # fmt: skip
    energy = _energy(device, unseen)
    factor = energy.factors.get(group.kind, 1.0)
    dynamic = factor * (
        work.matmul_flops * energy.flop_j[device.arithmetic(group.dtype)]
        + work.other_flops * energy.vector_flop_j
        + work.bytes * energy.byte_j
    )
    limited = dynamic / (energy.cap_w - energy.base_w)
    busy = busy_seconds(work, at) + group.kernels * values["start_s"]
    return np.asarray(np.maximum(busy, limited) + group.harness_s)


_ENERGIES: dict[tuple[str, bool], Any] = {}


def _energy(device: Device, unseen: bool) -> Any:
    """The device's energy coefficients; those of an unheard-of generation where `unseen` and derived from it."""
    key = (device.name, unseen)
    if key not in _ENERGIES:
        own = DERIVED_FROM.get(device.arch.rpartition(" ")[2], ())
        if unseen and device.name.startswith(own or ("-",)):
            device = device.model_copy(update={"arch": "unheard-of"})
        _ENERGIES[key] = device.coefficients().energy
    return _ENERGIES[key]


def fit(kind: str, groups: Sequence[Group], given: dict[str, float]) -> dict[str, float]:
    """The kind's values that make the summed robust error in log time least, each device weighing the same."""
    free = {name: spec for name, spec in FREE[kind].items() if isinstance(spec, tuple)}
    fixed = given | {name: spec for name, spec in FREE[kind].items() if not isinstance(spec, tuple)}
    names = list(free)
    start, low, high = (np.array([free[n][i] for n in names], dtype=np.float64) for i in range(3))
    scale = high - low
    sizes: dict[str, int] = {}
    for group in groups:
        sizes[group.device.name] = sizes.get(group.device.name, 0) + len(group)

    def residuals(z: Any) -> Any:
        values = fixed | dict(zip(names, low + z * scale, strict=True))
        return np.concatenate(
            [30 * errors(g, values) / np.sqrt(sizes[g.device.name]) for g in groups]
        )

    found = least_squares(
        residuals, (start - low) / scale, bounds=(0, 1), loss="soft_l1", f_scale=0.5
    )
    return fixed | {n: float(v) for n, v in zip(names, low + found.x * scale, strict=True)}


def errors(group: Group, values: dict[str, float], unseen: bool = False) -> Any:
    """Logarithm of predicted over measured seconds."""
    return np.log(seconds(group, values, unseen)) - np.log(group.seconds)


def usable(group: Group) -> Group:
    """The executions that are mostly the device's own time, a sample of them."""
    return group.take(np.flatnonzero(group.seconds > 4 * group.harness_s)).sample(SAMPLE)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    prior = priors("gpu")
    # Power limits enter the times, so the energies of this file must be in force before the fit.
    if json.loads(PRIORS.read_text(encoding="utf-8"))["energy"] != json.loads(json.dumps(ENERGY)):
        _write(json.loads(PRIORS.read_text()) | {"energy": ENERGY})
        raise SystemExit("the energy priors were updated first: run this again")
    groups = [usable(g) for g in measured.latency_groups(arguments.data)]
    groups += [usable(g) for g in measured.power_groups(arguments.data)]
    groups = [g for g in groups if len(g) >= 30]
    tiles: dict[str, float] = {
        "v.weight": 0,
        "v.edge": 0,
        "v.depth": 0,
        "e.weight": 0,
        "e.edge": 0,
        "e.depth": 0,
    }
    kinds: dict[str, Any] = {}
    bias: dict[str, dict[str, float]] = {}
    rows: dict[str, float] = {}
    for kind in FREE:
        mine = [g for g in groups if g.kind == kind]
        values = fit(kind, mine, tiles)
        if kind == "matmul":
            tiles = {name: values[name] for name in tiles}
        kinds[kind] = {
            n: _round(values[n])
            for n in ("compute", "tensor", "narrow", "vector", "memory", "start_s")
        }
        print(f"\n{kind}: " + ", ".join(f"{n} {_round(v)}" for n, v in values.items()))
        bias[kind], rows[kind] = leave_one_out(kind, mine, tiles)
    for kind, numbers in ASSUMED.items():
        kinds[kind] = dict(
            zip(
                ("compute", "tensor", "narrow", "vector", "memory", "start_s"), numbers, strict=True
            )
        )
    spread = spreads(bias, rows, prior.spread.model_dump())
    result = {
        "kind": "gpu",
        "date": datetime.date.today().isoformat(),
        "sources": [
            "times: one fit over NeuSight (fp32), vidur (fp16) and aiconfigurator (bf16, fp8, nvfp4) measurements on "
            + ", ".join(sorted({g.device.name for g in groups})),
            "spreads: errors on each of these devices when its chip is left out of the fit and of the energies",
            "kinds without measurements are assumed: " + ", ".join(sorted(ASSUMED)),
            "energy: public board-power readings by chip generation, see each",
        ],
        "time": {
            "norm": NORM,
            "vector_tiles": {n: _round(tiles[f"v.{n}"]) for n in ("weight", "edge", "depth")},
            "engine_tiles": {n: _round(tiles[f"e.{n}"]) for n in ("weight", "edge", "depth")},
            "kinds": kinds,
        },
        "energy": ENERGY,
        "spread": spread,
    }
    print("\nspread:", json.dumps(spread))
    if arguments.write:
        _write(result)


def _write(result: dict[str, Any]) -> None:
    PRIORS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def leave_one_out(
    kind: str, groups: Sequence[Group], tiles: dict[str, float]
) -> tuple[dict[str, float], float]:
    """Median log error of the kind on each device left out, and the spread of rows about it."""
    bias: dict[str, float] = {}
    around: list[Any] = []
    for name in sorted({g.device.name for g in groups}):
        # Boards with the same chip go with it, or A100 SXM would be "unseen" beside A100 PCIe.
        chip = next(g.device.arch for g in groups if g.device.name == name)
        others = [g for g in groups if g.device.arch != chip]
        values = fit(kind, others, tiles)
        left = [(g, errors(g, values, unseen=True)) for g in groups if g.device.name == name]
        for group, error in left:
            print(
                f"  without {name:15s} {group.op:28s} MAPE {100 * np.mean(np.abs(np.expm1(error))):6.1f}  "
                f"median {100 * np.median(np.expm1(error)):6.1f}  n {len(group)}"
            )
        bias[name] = float(np.mean([np.median(error) for _, error in left]))
        around += [error - bias[name] for _, error in left]
    # The 90 % quantile, not the standard deviation: what matters is where the tails are.
    each = [np.quantile(np.abs(a), 0.9) / 1.645 for a in around]
    return bias, float(np.mean(each))


def spreads(
    bias: dict[str, dict[str, float]], rows: dict[str, float], old: dict[str, Any]
) -> dict[str, Any]:
    """Spreads of the logarithm of time: common to a device, of a kind on it, of a row."""
    devices = sorted({d for kind in bias.values() for d in kind})
    # What the kinds of a device have in common is the mean of their errors.
    # Gather and quantize are left out: two and four devices, far apart for reasons of their own.
    shared = [by_device for kind, by_device in bias.items() if kind not in ("gather", "quantize")]
    common = {d: float(np.mean([k[d] for k in shared if d in k])) for d in devices}
    inflate = np.sqrt(len(devices) / (len(devices) - 1))
    time = inflate * float(np.sqrt(np.mean([c**2 for c in common.values()])))
    kinds = {}
    for kind, by_device in bias.items():
        own = np.mean([(b - common[d]) ** 2 for d, b in by_device.items()])
        kinds[kind] = max(0.05, inflate * float(np.sqrt(own)))
    return old | {
        "time": _round(time),
        "kinds": {k: _round(v) for k, v in kinds.items()} | {"other": ASSUMED_SPREAD},
        "rows": {k: _round(v) for k, v in rows.items()} | {"other": ASSUMED_SPREAD},
    }


def _round(value: float) -> float:
    return float(f"{value:.3g}")


if __name__ == "__main__":
    main()

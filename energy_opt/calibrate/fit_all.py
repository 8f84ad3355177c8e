"""All samples of a device in, the fits of its profile out: per kind and type, and per operator where points allow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from pydantic import ValidationError

from energy_opt.calibrate.cpu_menu import forms_of
from energy_opt.calibrate.fit import THIN, chip_of, fit_time
from energy_opt.calibrate.fitting import seconds
from energy_opt.calibrate.samples import Samples, concatenate
from energy_opt.errors import EnergyOptError
from energy_opt.estimators.device import Device
from energy_opt.estimators.fitted import Basis, Fitted, FittedEnergy, FittedTime
from energy_opt.estimators.forms import Chip
from energy_opt.estimators.lookup import in_place
from energy_opt.estimators.regimes import regime_of

OWN_POINTS = 10
"""An operator gets a fit of its own from this many points on; with fewer its kind's pooled fit is surer."""

OWN_GROUPS = 4
"""... and from this many shapes on, since an error can only be told by leaving shapes out."""

SURER = 1.5
"""An operator's own error on shapes left out is this many times the pooled fit's, which saw them, or it is kept."""

ENERGY_POINTS = 8
"""Metered points that an energy fit needs: each takes seconds, so there are fewer of them."""

OTHER = "other"
HALF = {"float16": "bfloat16", "bfloat16": "float16"}
"""Types whose kernels are alike: the same units, the same bytes."""

_MATRIX = frozenset({"matmul", "conv", "attention", "moe", "rnn", "collective"})
"""Kinds whose work is not memory traffic: they say nothing about a kind that was never measured."""


@dataclass
class Fits:
    """The fits, and per kind and type why there is none where there is none."""

    fits: list[Fitted] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def fit_all(
    samples: Iterable[Samples],
    device: Device,
    *,
    source: str,
    basis: Basis = "measured",
    draws: int = 64,
    seed: int = 0,
    pool: bool = True,
    lend: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> Fits:
    """Fits for every kind and type that there are samples of; with `pool` also one for kinds that were never measured.

    Views launch nothing: what they cost is the host's, and no fit. What few points or shapes cannot settle is left out
    with the reason. With `lend` types whose kernels are alike lend each other points where one has few, and the source
    says so.
    """
    samples = [part for part in samples if len(part)]
    jobs = _jobs(samples, pool, lend)
    result = Fits()
    for number, (name, part) in enumerate(jobs):
        if progress is not None:
            progress(" ".join(filter(None, (part.kind, name.op, part.dtype))), number, len(jobs))
        try:
            said = source + (f"; {name.lent} points among them" if name.lent else "")
            how: dict[str, Any] = {"draws": draws, "source": said, "basis": basis, "seed": seed}
            chip = chip_of(device, part.dtype)
            time = fit_time(part, chip, forms=forms_of(device, part), **how)
            energy = _energy(part, samples if lend else [], device, how)
        except (EnergyOptError, ValidationError) as error:
            # So few points that an error cannot be told, or is not finite, are no fit.
            result.left_out[" ".join(filter(None, (name.kind, name.op, name.dtype)))] = str(error)
            continue
        if name.op and _pooled_is_surer(result.fits, part, time, chip):
            continue
        result.fits.append(
            Fitted(
                kind=name.kind, dtype=name.dtype, op=name.op, regime=name.regime, runtime=part.runtime,
                time=time, energy=energy, box=box_of(part),
            )
        )  # fmt: skip
    return result


def _pooled_is_surer(fits: Sequence[Fitted], own: Samples, time: FittedTime, chip: Chip) -> bool:
    """Whether the kind's fit is nearer to the operator's samples than the operator's own fit to shapes left out."""
    pooled = [
        f
        for f in fits
        if (f.kind, f.dtype, f.runtime) == (own.kind, own.dtype, own.runtime) and not f.op
    ]
    if len(pooled) != 1 or pooled[0].time is None:  # none, or by regime
        return False
    off = np.abs(seconds(pooled[0].time, own.work, chip) / own.latency_s - 1.0)
    return SURER * float(np.mean(off)) < time.errors.mape


@dataclass(frozen=True)
class _Name:
    kind: str
    dtype: str
    op: str = ""
    regime: str = ""
    lent: str = ""


def _jobs(samples: list[Samples], pool: bool, lend: bool) -> list[tuple[_Name, Samples]]:
    """What is fitted: kinds, their operators and regimes, and the pool of what moves memory."""
    kinds: dict[tuple[str, str, str], list[Samples]] = defaultdict(list)
    pools: dict[tuple[str, str], list[Samples]] = defaultdict(list)
    for part in samples:
        if part.kernels == 0 or not len(part):
            continue
        kinds[part.kind, part.dtype, part.runtime].append(part)
        if part.kind not in _MATRIX:
            pools[part.dtype, part.runtime].append(part)
    jobs: list[tuple[_Name, Samples]] = []
    for (kind, dtype, _), parts in _with_lent(kinds) if lend else kinds.items():
        lent = "" if all(part.dtype == dtype for part in parts) else HALF.get(dtype, "")
        parts = [replace(part, dtype=dtype) for part in parts]
        whole = join(parts)
        jobs += [(_Name(kind, dtype, regime=r, lent=lent), part) for r, part in _regimes(whole)]
        by_op: dict[str, list[Samples]] = defaultdict(list)
        for part in parts:
            if part.op:
                by_op[in_place(part.op)].append(part)
        if len(by_op) > 1:
            jobs += [
                (_Name(kind, dtype, op), join(own)) for op, own in by_op.items() if _settles(own)
            ]
    for (dtype, _), parts in pools.items():
        if (
            pool
            and len({part.kind for part in parts}) > 1
            and (OTHER, dtype) not in {k[:2] for k in kinds}
        ):
            pooled = join([replace(part, kind=OTHER, op="") for part in parts])
            jobs.append((_Name(OTHER, dtype), pooled))
    return jobs


def _with_lent(
    kinds: dict[tuple[str, str, str], list[Samples]],
) -> list[tuple[tuple[str, str, str], list[Samples]]]:
    """The kinds with what a like type lends: where it has so few points that only a line could be fitted."""
    result = []
    for kind, dtype, runtime in dict.fromkeys(
        key for k, d, r in kinds for key in ((k, d, r), *([(k, HALF[d], r)] if d in HALF else []))
    ):
        parts = list(kinds.get((kind, dtype, runtime), []))
        if sum(len(part) for part in parts) < THIN and dtype in HALF:
            parts += kinds.get((kind, HALF[dtype], runtime), [])
        result.append(((kind, dtype, runtime), parts))
    return result


def _settles(parts: Sequence[Samples], least: int = OWN_POINTS) -> bool:
    points = sum(len(part) for part in parts)
    groups = {group for part in parts for group in part.group.tolist()}
    return points >= least and len(groups) >= OWN_GROUPS


def _regimes(samples: Samples) -> list[tuple[str, Samples]]:
    """The samples by regime, where each has points enough for a fit of its own."""
    found: Any = regime_of(samples.kind, samples.work.sizes)
    if isinstance(found, str):
        return [("", samples)]
    parts = [(str(name), samples.take(found == name)) for name in np.unique(found)]
    return parts if all(_settles([part]) for _, part in parts) else [("", samples)]


def join(parts: Sequence[Samples]) -> Samples:
    """Samples of one kind and type put together, with the problem sizes that all of them have."""
    common = set.intersection(*(set(part.work.sizes) for part in parts))
    return concatenate(
        [
            replace(
                part, work=replace(part.work, sizes={n: part.work.sizes[n] for n in sorted(common)})
            )
            for part in parts
        ]
    )


def box_of(samples: Samples) -> dict[str, tuple[float, float]]:
    """The range of each quantity and problem size among the samples; what is always 0 is no range."""
    work = samples.work
    quantities = {
        "flops": work.matmul_flops,
        "other_flops": work.other_flops,
        "bytes": work.bytes,
        **work.sizes,
    }
    box = {}
    for name, values in quantities.items():
        positive = np.asarray(values, dtype=float)
        positive = positive[positive > 0]
        if len(positive):
            box[name] = (float(positive.min()), float(positive.max()))
    return box


def _energy(
    samples: Samples, all_samples: Sequence[Samples], device: Device, how: dict[str, Any]
) -> FittedEnergy | None:
    """The energy fit of the samples that were metered; None where they are too few.

    Where they are, other types lend theirs if there are any: of half precision to each other, and of work on the
    vector units, whose joules go by what is moved, all to all.
    """
    from energy_opt.calibrate.fit_energy import fit_energy

    metered = _metered(samples)
    if not _settles([metered], ENERGY_POINTS):
        lenders = [
            replace(part, dtype=samples.dtype, op="")
            for part in all_samples
            if part.kind == samples.kind
            and part.runtime == samples.runtime
            and (part.kind not in _MATRIX or part.dtype in (samples.dtype, HALF.get(samples.dtype)))
        ]
        metered = _metered(join(lenders)) if lenders and samples.kernels else metered
        how = how | {"source": f"{how['source']}; points of other types among them"}
    if not _settles([metered], ENERGY_POINTS):
        return None
    try:
        return fit_energy(metered, device=device, **how)
    except (EnergyOptError, ValidationError):  # its time was fitted, which must not be lost
        return None


def _metered(samples: Samples) -> Samples:
    return samples.take(np.isfinite(samples.energy_j) & (samples.energy_j > 0))

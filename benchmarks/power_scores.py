"""Predictions of power, energy and latency for executions whose shapes were left out: ours and the baselines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from measured_power import PowerPart
from power_instrument import fit_instrument

from energy_opt.calibrate.energy_solver import Readings, rates_of, solve
from energy_opt.calibrate.fit import MENU, chip_of
from energy_opt.calibrate.fit_energy import readings_of
from energy_opt.calibrate.fitting import fit_many, seconds
from energy_opt.estimators.forms import FORMS, Form

Array = np.ndarray[Any, np.dtype[np.float64]]
Predicted = dict[tuple[str, str], Array]
"""By method and quantity: `power` (latency known), `static-power`, `energy`, `latency`, one value per execution."""

FOLDS = 4
TIMED = 150
"""Executions of each kernel that times are fitted to."""

OWN_KERNEL = 60
"""Executions from which on a kernel has a time fit of its own."""

SETTLED = 0.05
"""Readings less than this part of which is of an idle device are taken to show the work."""


def held_out(part: PowerPart, seed: int, boosting: bool, forms: dict[str, str]) -> Predicted:
    """Predictions of every execution by fits that its shape was left out of.

    `forms` remembers which form of the time equation was best for a kernel: the first seed chooses.
    """
    masks = part.samples.folds(FOLDS, seed)
    times = _times(part, masks, seed, forms)
    found: Predicted = {}
    for mask in masks:
        # The last piece of a small part may be all there is of a shape.
        here = predict(part.take(~mask), part.take(mask), times[mask], seed)
        if boosting:
            here |= boosted(part.take(~mask), part.take(mask))
        for key, values in here.items():
            found.setdefault(key, np.full(len(part), np.nan))[mask] = values
    return found


def predict(known: PowerPart, unseen: PowerPart, times: Array, seed: int) -> Predicted:
    """Ours and the baselines that need no learning, in W, J and s; `times` are predicted seconds of the unseen."""
    there, here = _shares(known), _shares(unseen)
    # What was learnt on one device is applied to another in shares of its TDP.
    instrument = fit_instrument(there, known.shape, known.readings)
    plain = solve(there)
    sum_only = solve(replace(there, cap_w=1e9, base_most=np.inf))
    unit_w, cap = unseen.device.tdp_w, there.cap_w
    share = instrument.idle_share(unseen.shape, unseen.readings)
    seen = replace(here, cap_w=cap, idle_share=share)
    rates = rates_of(unseen.samples.work, times, unseen.device, unseen.samples.dtype)
    static = replace(seen, rates=rates * (here.rates.max(axis=0) > 0))
    bare = np.zeros(len(unseen))
    found: Predicted = {}
    for method, at, lag in (
        ("ours", instrument.at, share), ("ours, no instrument", plain, bare), ("the work", instrument.at, bare),
    ):  # fmt: skip
        found[method, "power"] = unit_w * replace(seen, idle_share=lag).predicted(at)
        found[method, "static-power"] = unit_w * replace(static, idle_share=lag).predicted(at)
        found[method, "energy"] = found[method, "static-power"] * times
    found["nnls", "power"] = unit_w * replace(seen, idle_share=bare, cap_w=1e9).predicted(sum_only)
    found["nnls", "energy"] = (
        times * unit_w * replace(static, idle_share=bare, cap_w=1e9).predicted(sum_only)
    )
    found["tdp", "power"] = np.full(len(unseen), unit_w)
    found["tdp", "energy"] = unit_w * times
    found["ours", "latency"] = times
    found["instrument", "share"] = share
    return found


def _shares(part: PowerPart) -> Readings:
    """The readings in shares of the TDP."""
    r = readings_of(part.samples, part.device)
    unit_w = r.unit_w
    return replace(
        r, power_w=r.power_w / unit_w, idle_w=r.idle_w / unit_w, cap_w=r.cap_w / unit_w, unit_w=1.0
    )


def _times(part: PowerPart, masks: Sequence[Any], seed: int, chosen: dict[str, str]) -> Array:
    """Seconds of every execution by time fits without its shape, one fit per kernel."""
    times = np.empty(len(part))
    key = f"{part.device.name} {part.name}"
    # The largest kernel chooses the form for all of the part.
    for mine in sorted(_kernels(part), key=lambda mask: -np.sum(mask)):
        forms = [FORMS[chosen[key]]] if key in chosen else list(_forms(part))
        kernel, own = part.take(mine), [mask[mine] for mask in masks]
        times[mine], chosen[key] = _kernel_times(kernel, own, seed, forms)
    return times


def _kernels(part: PowerPart) -> list[Any]:
    """Masks of what one kernel runs: attention is compiled per head size, and some sizes have none but a slow one."""
    size = part.samples.work.sizes.get("d")
    if part.samples.kind != "attention" or size is None:
        return [np.ones(len(part), dtype=bool)]
    names, counts = np.unique(size, return_counts=True)
    large = names[counts >= OWN_KERNEL]
    rest = ~np.isin(size, large)
    return [mask for mask in (*(size == name for name in large), rest) if np.any(mask)]


def _kernel_times(
    part: PowerPart, masks: Sequence[Any], seed: int, forms: Sequence[Form]
) -> tuple[Array, str]:
    """Seconds by the best of the forms on left-out shapes, and its name."""
    chip = chip_of(part.device, part.samples.dtype)
    chosen = np.sort(np.random.default_rng(seed).permutation(len(part))[:TIMED])
    few = part.samples.take(chosen)
    weights = np.array([~mask[chosen] for mask in masks], dtype=np.float64)
    # Where a fold is all that there is of a kernel, it cannot be left out.
    weights[weights.sum(axis=1) == 0] = 1e-6
    best, name, least = np.full(len(part), np.nan), "", np.inf
    for form in forms:
        found = fit_many(form, few, chip, weights, seed=seed)
        times = np.empty(len(part))
        for fold, mask in enumerate(masks):
            at = {name: values[fold] for name, values in found.items()}
            times[mask] = seconds((form, at), part.samples.take(mask).work, chip)
        error = float(np.mean(np.abs(times[chosen] / few.latency_s - 1)))
        if error < least:
            best, name, least = times, form.name, error
    return best, name


_ALSO = {"attention": ("flash-64", "flash-128", "flash-192", "flash-decode"), "moe": ("experts",)}


def _forms(part: PowerPart) -> Iterator[Form]:
    """Forms of the time equation for the part's kind that know its problem sizes."""
    chip = chip_of(part.device, part.samples.dtype)
    kind, one = part.samples.kind, part.samples.take([0])
    for name in dict.fromkeys((*MENU.get(kind, ("linear", "roofline")), *_ALSO.get(kind, ()))):
        if name not in FORMS:
            continue
        try:
            seconds(
                (FORMS[name], {p.name: p.start for p in FORMS[name].parameters}), one.work, chip
            )
        except KeyError:
            continue
        yield FORMS[name]


def elsewhere_times(
    known: PowerPart, unseen: PowerPart, seed: int, chosen: dict[str, str]
) -> Array:
    """Seconds of the unseen device's executions by time fits to the known device's, one per kernel."""
    times = np.full(len(unseen), np.nan)
    key = f"{known.device.name} {known.name}"
    forms = [FORMS[chosen[key]]] if key in chosen else list(_forms(known))
    sizes = (known.samples.work.sizes.get("d"), unseen.samples.work.sizes.get("d"))
    for mine in _kernels(known):
        if known.samples.kind == "attention" and sizes[0] is not None and sizes[1] is not None:
            theirs = np.isin(sizes[1], np.unique(sizes[0][mine]))
        else:
            theirs = np.ones(len(unseen), dtype=bool)
        if np.any(theirs):
            times[theirs] = _elsewhere(known.take(mine), unseen.take(theirs), seed, forms)
    unknown = ~np.isfinite(times)
    if np.any(unknown):
        times[unknown] = _elsewhere(known, unseen.take(unknown), seed, forms)
    return times


def _elsewhere(known: PowerPart, unseen: PowerPart, seed: int, forms: Sequence[Form]) -> Array:
    few = known.sample(TIMED, seed).samples
    chip, other = (chip_of(p.device, p.samples.dtype) for p in (known, unseen))
    best, least = np.full(len(unseen), np.nan), np.inf
    for form in forms:
        found = fit_many(form, few, chip, np.ones((1, len(few))), seed=seed)
        at = {name: float(values[0]) for name, values in found.items()}
        error = float(np.mean(np.abs(seconds((form, at), few.work, chip) / few.latency_s - 1)))
        if error < least:
            best, least = seconds((form, at), unseen.samples.work, other), error
    return best


def boosted(known: PowerPart, unseen: PowerPart) -> Predicted:
    """Gradient boosting on work and shape: power as a share of the TDP, and energy; nothing without scikit-learn."""
    try:
        from sklearn.ensemble import HistGradientBoostingRegressor
    except ImportError:
        return {}
    there, here = _features(known), _features(unseen)
    varies = there.max(axis=0) > there.min(axis=0)

    def learn(goal: Array) -> Array:
        model = HistGradientBoostingRegressor(
            max_iter=80, learning_rate=0.1, max_leaf_nodes=15, random_state=0
        )
        model.fit(there[:, varies], goal)
        return np.asarray(model.predict(here[:, varies]))

    power = learn(np.log(known.samples.power_w / known.device.tdp_w))
    energy = learn(np.log(known.samples.energy_j / known.device.tdp_w))
    return {
        ("boosting", "power"): np.exp(power) * unseen.device.tdp_w,
        ("boosting", "energy"): np.exp(energy) * unseen.device.tdp_w,
    }


def _features(part: PowerPart) -> Array:
    work = part.samples.work
    columns = [
        np.log(np.asarray(v) + 1.0) for v in (work.matmul_flops, work.other_flops, work.bytes)
    ]
    rows = len(part)
    return np.column_stack([*(np.broadcast_to(c, rows) for c in columns), part.shape])

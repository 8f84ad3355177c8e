"""Measurement: what a model took in time and energy on this machine, beside what was predicted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from energy_opt.estimators.breakdown import prefixes
from energy_opt.estimators.estimate import Estimate
from energy_opt.estimators.interval import LEVEL
from energy_opt.measure.steady import AGREE, WINDOWS, Steady, spread

SCHEMA = "energy-opt/measurement/1"
_WARMUP = f"until the medians of {WINDOWS} windows agree within {AGREE:.0%}, as long as the measurement at most"


@dataclass
class Measurement:
    """Seconds and joules of one inference as measured here, and as predicted; a quantity not known is None.

    `trials` are in order. `modules` has a dict per module path, the root first. `interrupted` says that the person
    stopped it: what was measured until then is here.
    """

    model: dict[str, Any]
    target: dict[str, Any]
    runtime: str
    dims: dict[str, Any]
    trials: list[Steady] = field(default_factory=list)
    estimate: Estimate | None = None
    meters: list[dict[str, Any]] = field(default_factory=list)
    meter: dict[str, Any] = field(default_factory=dict)
    modules: list[dict[str, Any]] = field(default_factory=list)
    trace: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    cooldown_s: float = 0.0
    interrupted: str = ""
    given_latency_s: float | None = None

    @property
    def latency_s(self) -> float | None:
        """Seconds of one inference: the median over trials of the median over calls."""
        if self.given_latency_s is not None:
            return self.given_latency_s
        return float(np.median([t.latency_s for t in self.trials])) if self.trials else None

    @property
    def latency_s_interval(self) -> tuple[float, float] | None:
        """Seconds between which the central 90 % of all calls lie."""
        if not self.trials:
            return None
        calls = np.concatenate([trial.latencies_s for trial in self.trials])
        low, high = np.quantile(calls, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return float(low), float(high)

    @property
    def energy_j(self) -> float | None:
        """Joules of one inference within the meter's boundary: the median over trials; None where no meter says."""
        known = [trial.energy_j for trial in self.trials if trial.energy_j is not None]
        return float(np.median(known)) if known else None

    @property
    def power_w(self) -> float | None:
        """Mean power over the metered windows in W."""
        known = [
            t.energy_j * t.energy_calls / t.seconds
            for t in self.trials
            if t.energy_j is not None and t.seconds
        ]
        return float(np.median(known)) if known else None

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `measure`, schema `energy-opt/measurement/1`."""
        return {
            "schema": SCHEMA,
            "model": self.model,
            "target": self.target,
            "runtime": self.runtime,
            "dims": self.dims,
            "protocol": {
                "warmup": _WARMUP,
                "seconds": self.seconds,
                "trials": len(self.trials),
                "cooldown_s": self.cooldown_s,
                "interval_level": LEVEL,
            },
            "measured": self._measured(),
            "predicted": self._predicted(),
            "comparison": self._comparison(),
            "trials": [_trial(trial) for trial in self.trials],
            "meters": self.meters,
            "modules": self.modules,
            "trace": self.trace,
            "interrupted": self.interrupted,
            "notes": list(self.notes),
        }

    def __repr__(self) -> str:
        what = f"{self.model.get('source')!r} on {self.target.get('name')}, {self.runtime}"
        latency = "no latency" if self.latency_s is None else f"{self.latency_s:.4g} s"
        energy = "energy unavailable" if self.energy_j is None else f"{self.energy_j:.4g} J"
        return f"<Measurement of {what}: {latency}, {energy}>"

    def _measured(self) -> dict[str, Any]:
        interval = self.latency_s_interval
        energies = [trial.energy_j for trial in self.trials if trial.energy_j is not None]
        return {
            "latency_s": self.latency_s,
            "latency_s_interval": None if interval is None else list(interval),
            "latency_spread": spread([trial.latency_s for trial in self.trials]),
            "energy_j": self.energy_j,
            "energy_spread": spread(energies),
            "power_w": self.power_w,
            "reason": "" if energies else self._reason(),
            **self.meter,
        }

    def _reason(self) -> str:
        said = [trial.reason for trial in self.trials if trial.reason]
        return said[0] if said else self.meter.get("reason") or "no meter ran"

    def _predicted(self) -> dict[str, Any] | None:
        if self.estimate is None:
            return None
        totals, device = self.estimate.totals(), self.estimate.device
        return {
            "device": device.name,
            "label": device.label,
            "provenance": device.provenance.time,
            "energy_provenance": device.provenance.energy,
            "boundary": device.boundary,
            "runtime": self.estimate.runtime.name,
            **{
                name: totals[name]
                for name in (
                    "latency_s", "latency_s_interval", "energy_j", "energy_j_interval", "power_w"
                )
            },
        }  # fmt: skip

    def _comparison(self) -> dict[str, Any] | None:
        if self.estimate is None:
            return None
        totals = self.estimate.totals()
        found = compared("latency", self.latency_s, totals)
        found |= compared("energy", self.energy_j, totals)
        mine, theirs = self.meter.get("boundary"), self.estimate.device.boundary
        found["same_boundary"] = None if mine is None else mine == theirs
        found["metered"] = self.meter.get("provenance") == "measured"
        return found


def compared(
    quantity: str, measured: float | None, predicted: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The prediction's error as a fraction of the measurement, and whether its interval holds it; None if not known."""
    name = f"{quantity}_{'s' if quantity == 'latency' else 'j'}"
    if measured is None or not measured > 0 or not predicted:
        return {f"{quantity}_error": None, f"{quantity}_inside": None}
    low, high = predicted[f"{name}_interval"]
    return {
        f"{quantity}_error": predicted[name] / measured - 1,
        f"{quantity}_inside": bool(low <= measured <= high),
    }


def module_rows(
    estimate: Estimate | None,
    in_place: Mapping[str, float],
    costs: Sequence[Any] = (),
    types: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """One dict per module that was timed: in place, replayed, predicted, and how far apart.

    `costs` are `ModuleCost`s. The latency that is compared is the one in place, for that is what is predicted; the
    energy is the replay's.
    """
    predicted = {row["path"]: row for row in (estimate.modules() if estimate is not None else [])}
    replayed = {cost.path: cost for cost in costs}
    rows = []
    for path in dict.fromkeys([*in_place, *replayed]):
        cost, expected = replayed.get(path), predicted.get(path)
        measured_s = in_place.get(path)
        energy_j = cost.energy_j if cost is not None else None
        interval = cost.latency_s_interval if cost is not None else None
        known = expected or {}
        rows.append(
            {
                "path": path,
                "type": cost.type
                if cost is not None
                else (types or {}).get(path, known.get("type", "")),
                "depth": path.count(".") + 1 if path else 0,
                "calls": cost.calls if cost is not None else None,
                "latency_s": measured_s,
                "replayed_latency_s": cost.latency_s if cost is not None else None,
                "replayed_latency_s_interval": None if interval is None else list(interval),
                "energy_j": energy_j,
                "replayed_like": cost.like if cost is not None else "",
                "failed": cost.failed if cost is not None else "",
                "predicted_latency_s": known.get("latency_s"),
                "predicted_latency_s_interval": known.get("latency_s_interval"),
                "predicted_energy_j": known.get("energy_j"),
                "predicted_energy_j_interval": known.get("energy_j_interval"),
                **compared(
                    "latency",
                    measured_s if measured_s else (cost.latency_s if cost else None),
                    expected,
                ),
                **compared("energy", energy_j, expected),
            }
        )
    return _as_tree(rows, predicted)


def _as_tree(rows: list[dict[str, Any]], predicted: Iterable[str]) -> list[dict[str, Any]]:
    """Rows with children right behind their parents, siblings as predicted; others behind them, as they were seen."""
    order: dict[str, int] = {}
    for path in (*predicted, *(row["path"] for row in rows)):
        for above in reversed(prefixes(path)):
            order.setdefault(above, len(order))
    return sorted(rows, key=lambda row: [order[above] for above in reversed(prefixes(row["path"]))])


def _trial(trial: Steady) -> dict[str, Any]:
    window = trial.window
    known = {
        name: getattr(window, name, None)
        for name in ("utilisation", "clocks_hz", "temperature_c", "throttled", "power_limit_w")
    }
    return {
        "latency_s": trial.latency_s,
        "latency_s_interval": list(trial.latency_s_interval),
        "calls": len(trial.latencies_s),
        "energy_j": trial.energy_j,
        "metered_calls": trial.energy_calls,
        "metered_s": trial.seconds,
        "warmup_calls": trial.warmup.calls,
        "warmup_s": trial.warmup.seconds,
        "settled": trial.warmup.settled,
        "reason": trial.reason,
        **known,
    }

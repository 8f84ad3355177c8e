"""The parts of an estimate as dicts: ops, modules and kinds, whose seconds and joules sum to the totals."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from energy_opt.estimators import breakdown
from energy_opt.estimators.breakdown import COUNTS, RowArrays, Sums, number
from energy_opt.estimators.interval import interval
from energy_opt.estimators.pricing import Pricer, RestsOn, RowPrice
from energy_opt.estimators.work import RowWork

if TYPE_CHECKING:
    from energy_opt.ir.workload import Workload


class Parts:
    """What each op, module and kind of a workload costs, at one size per dim."""

    def __init__(
        self,
        workload: Workload,
        works: Sequence[RowWork],
        pricer: Pricer,
        live: Sequence[tuple[str, float]],
    ) -> None:
        """`live` holds the module path and the live activation bytes of every step of the schedule."""
        self._workload, self._works, self._pricer = workload, works, pricer
        self._live = live

    def ops(self) -> list[dict[str, Any]]:
        """One dict per node, costliest in joules first."""
        entries = []
        for row, base, work, price, drawn_s, drawn_j in zip(
            self._workload.rows,
            self._bases,
            self._works,
            self._prices,
            self._arrays.draws_s,
            self._arrays.draws_j,
            strict=True,
        ):
            counts = {
                "macs": float(work.matmul_flops) / 2,
                **{name: float(getattr(work, name)) for name in COUNTS},
            }
            low_high_s = interval(price.latency_s, drawn_s, least=price.least_s)
            low_high_j = interval(price.energy_j, drawn_j)
            for use, times in zip(row.uses, work.times, strict=True):
                entries.append(
                    {
                        "name": use.name,
                        "op": row.op,
                        "kind": row.kind,
                        "path": use.path,
                        "module_type": self._workload.modules.get(use.path, ""),
                        "count": number(float(times)),
                        **{name: number(value * float(times)) for name, value in counts.items()},
                        "weight_bytes": use.weight_bytes,
                        "parameters": use.parameters,
                        "peak_activation_bytes": number(self._live[use.step][1]),
                        "latency_s": float(price.latency_s * times),
                        "latency_s_interval": [float(end * times) for end in low_high_s],
                        "energy_j": float(price.energy_j * times),
                        "energy_j_interval": [float(end * times) for end in low_high_j],
                        "power_w": mean_power_w(price.energy_j, price.latency_s),
                        "bound": price.bound,
                        "modelled": row.modelled,
                        "fused": list(row.fused),
                        "dtype": row.dtype,
                        "provenance": base.provenance,
                        "energy_provenance": base.energy_provenance,
                    }
                )
        return sorted(entries, key=lambda entry: -entry["energy_j"])

    def modules(self) -> list[dict[str, Any]]:
        """One dict per module path, depth first, sums inclusive of children; the first is the root, path ''."""
        inside = self._weights_inside()
        peaks: dict[str, float] = {}
        for path, size in self._live:
            for above in breakdown.prefixes(path):
                peaks[above] = max(peaks.get(above, 0.0), size)
        entries = []
        for path, sums in breakdown.tree(self._workload.rows, self._works, self._arrays).items():
            parameters, weight_bytes = inside.get(path, (0, 0))
            entries.append(
                {
                    "path": path,
                    "type": self._workload.modules.get(path, ""),
                    "depth": path.count(".") + 1 if path else 0,
                    "ops": sums.nodes,
                    **self._fields(sums),
                    "parameters": parameters,
                    "weight_bytes": weight_bytes,
                    "peak_activation_bytes": number(peaks.get(path, 0.0)),
                }
            )
        return entries

    def bases(self) -> dict[str, dict[str, float]]:
        """Shares of the seconds and joules by what they rest on, the largest first."""
        bases: dict[str, dict[str, float]] = {"latency_s": {}, "energy_j": {}}
        for base, work, price in zip(self._bases, self._works, self._prices, strict=True):
            for name, basis in (
                ("latency_s", base.provenance),
                ("energy_j", base.energy_provenance),
            ):
                part = float(getattr(price, name) * work.count)
                bases[name][basis] = bases[name].get(basis, 0.0) + part
        return {name: _shares(sums) for name, sums in bases.items()}

    def extrapolated(self) -> float:
        """The share of the seconds that comes from fits outside of the range they were made from."""
        outside = total = 0.0
        for base, work, price in zip(self._bases, self._works, self._prices, strict=True):
            seconds = float(price.latency_s * work.count)
            total += seconds
            if base.outside > 0.1:
                outside += seconds
        return outside / (total or 1.0)

    def kinds(self) -> list[dict[str, Any]]:
        """One dict per kind of work, costliest in joules first."""
        sums = breakdown.by_kind(self._workload.rows, self._works, self._arrays)
        return [{"kind": kind, "ops": s.nodes, **self._fields(s)} for kind, s in sums.items()]

    @cached_property
    def _bases(self) -> list[RestsOn]:
        return self._pricer.rests_on(self._works)

    @cached_property
    def _prices(self) -> list[RowPrice]:
        return self._pricer.prices(self._works)

    @cached_property
    def _arrays(self) -> RowArrays:
        draws = self._pricer.draws
        drawn = self._pricer.prices(self._works, drawn=True)
        work = [[float(getattr(w, name)) for name in COUNTS] for w in self._works]
        price = [[float(p.latency_s), float(p.energy_j), float(p.least_s)] for p in self._prices]
        rows = len(drawn)
        return RowArrays(
            np.array(work).reshape(rows, len(COUNTS)),
            np.array(price).reshape(rows, 3),
            np.array([np.broadcast_to(p.latency_s, draws) for p in drawn]).reshape(rows, draws),
            np.array([np.broadcast_to(p.energy_j, draws) for p in drawn]).reshape(rows, draws),
        )

    def _weights_inside(self) -> dict[str, tuple[int, int]]:
        """Inclusive (parameters, weight bytes) of every module, each weight where it is first used."""
        inside: dict[str, tuple[int, int]] = {}
        for use in (use for row in self._workload for use in row.uses if use.weight_bytes):
            for path in breakdown.prefixes(use.path):
                old = inside.get(path, (0, 0))
                inside[path] = (old[0] + use.parameters, old[1] + use.weight_bytes)
        return inside

    def _fields(self, sums: Sums) -> dict[str, Any]:
        spread = self._pricer.spread
        seconds = interval(
            sums.latency_s, sums.draws_s, widen=spread.conformal_time, least=sums.least_s
        )
        joules = interval(sums.energy_j, sums.draws_j, widen=spread.conformal_energy)
        return {
            "macs": number(float(sums.work[0]) / 2),
            **{n: number(float(v)) for n, v in zip(COUNTS, sums.work, strict=True)},
            "latency_s": sums.latency_s,
            "latency_s_interval": [float(end) for end in seconds],
            "energy_j": sums.energy_j,
            "energy_j_interval": [float(end) for end in joules],
            "power_w": mean_power_w(sums.energy_j, sums.latency_s),
        }


def mean_power_w(energy_j: Any, latency_s: Any) -> float:
    """Watts; 0 where nothing is computed."""
    return float(energy_j / latency_s) if latency_s > 0 else 0.0


def _shares(sums: dict[str, float]) -> dict[str, float]:
    """Each part over the total, the largest first."""
    total = sum(sums.values()) or 1.0
    return {name: sums[name] / total for name in sorted(sums, key=lambda name: -sums[name])}

"""Estimate: a workload's seconds and joules on a device under a runtime, with intervals, by op, module and kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from energy_opt.errors import DimError, UsageError
from energy_opt.estimators.answer import answer, notes
from energy_opt.estimators.breakdown import number
from energy_opt.estimators.device import Device
from energy_opt.estimators.footprint import footprint
from energy_opt.estimators.interval import Array, difference, interval
from energy_opt.estimators.parts import Parts, mean_power_w
from energy_opt.estimators.pricing import Pricer
from energy_opt.estimators.runtime import Runtime
from energy_opt.estimators.work import RowWork, WorkTable
from energy_opt.ir.dims import Value

if TYPE_CHECKING:
    from energy_opt.ir.workload import Workload

_CHUNK = 16384
"""Points evaluated at a time: few enough that the arrays of a row stay in the second-level cache."""
_DRAWN_CHUNK = 256


def estimate(
    workload: Workload, device: Device, runtime: Runtime, dims: Mapping[str, Any]
) -> Estimate:
    """Seconds and joules of one inference of the workload; `dims` may bind sizes to ints or to arrays of ints.

    Raises:
        UsageError: the runtime cannot run graphs of this vocabulary.
        DimError: a dim is unknown, not positive, or the arrays do not broadcast.
    """
    runtime.check(workload.vocabulary)
    return Estimate(workload, device, runtime, dims)


class Estimate:
    """Seconds and joules of one inference: floats, or arrays where a dim was bound to an array.

    Everything is computed when it is asked for. Intervals come from joint draws of the device's coefficients.
    """

    def __init__(
        self, workload: Workload, device: Device, runtime: Runtime, dims: Mapping[str, Any]
    ) -> None:
        self.workload, self.device, self.runtime = workload, device, runtime
        self.given = dict(dims)
        self.dims: dict[str, Any] = workload.bind(dims)
        self.precision = "as-is"
        self.advisor: Callable[[], list[dict[str, Any]]] | None = None
        arrays = {name: np.asarray(v) for name, v in self.dims.items() if np.ndim(v)}
        try:
            self.shape: tuple[int, ...] = np.broadcast_shapes(*(a.shape for a in arrays.values()))
        except ValueError as error:
            shapes = ", ".join(f"{name}{list(array.shape)}" for name, array in arrays.items())
            raise DimError(
                f"the arrays bound to dims do not broadcast: {shapes}; use equal shapes, or np.ix_"
            ) from error
        self._points = {
            name: np.broadcast_to(array, self.shape).astype(np.float64).ravel()
            for name, array in arrays.items()
        }
        self._table = WorkTable(workload.rows)
        self._pricer = Pricer(workload.rows, device, runtime)

    # -- totals --------------------------------------------------------------------------------------------------------

    @property
    def latency_s(self) -> Any:
        """Seconds of one inference."""
        return self._totals[0]

    @property
    def energy_j(self) -> Any:
        """Joules of one inference, within the device's boundary, its idle power for that time included."""
        return self._totals[1]

    @property
    def power_w(self) -> Any:
        """Mean power in W during an inference; 0 where nothing is computed."""
        latency_s, energy_j = self._totals
        if self.shape:
            return energy_j / np.where(latency_s > 0, latency_s, 1.0)
        return mean_power_w(energy_j, latency_s)

    @property
    def latency_s_interval(self) -> Any:
        """(low, high) seconds that hold the truth with probability `interval.LEVEL`."""
        return self._intervals[0]

    @property
    def energy_j_interval(self) -> Any:
        """(low, high) joules that hold the truth with probability `interval.LEVEL`."""
        return self._intervals[1]

    @property
    def macs(self) -> Any:
        """Multiply-adds of matrix arithmetic: half the matmul FLOPs."""
        flops = self.matmul_flops
        return flops / 2 if self.shape else number(flops / 2)

    @property
    def matmul_flops(self) -> Any:
        """FLOPs of matrix arithmetic; a multiply-add is 2."""
        return self._count("matmul_flops")

    @property
    def other_flops(self) -> Any:
        """FLOPs of everything but matrix arithmetic."""
        return self._count("other_flops")

    @property
    def bytes_read(self) -> Any:
        """Bytes read, each operand once per execution."""
        return self._count("bytes_read")

    @property
    def bytes_written(self) -> Any:
        """Bytes written."""
        return self._count("bytes_written")

    @property
    def parameters(self) -> int:
        """Parameters, each counted once however often it is used."""
        return self.workload.parameters

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights, each counted once."""
        return self.workload.weight_bytes

    @property
    def peak_activation_bytes(self) -> Any:
        """Largest sum of live activations over the schedule, in bytes."""
        peak = self.workload.peak_activation_bytes(self.dims, frames=self.runtime.frames)
        return peak if self.shape else number(float(np.max(peak)))

    @property
    def bound_s(self) -> Any:
        """The datasheet's bound in seconds: no implementation of these rows is faster."""
        return self._over_points(lambda works: (self._pricer.least_seconds(works),))[0]

    def minus(self, other: Estimate) -> dict[str, Any]:
        """This estimate minus the other, in seconds and joules, with intervals from the draws they share.

        Raises:
            DimError: either was made for arrays of sizes.
        """
        self._scalar("minus")
        other._scalar("minus")
        result: dict[str, Any] = {}
        for index, name in enumerate(("latency_s", "energy_j")):
            mine, theirs = self._drawn_totals[index], other._drawn_totals[index]
            size = min(len(mine), len(theirs))
            value = float(self._totals[index] - other._totals[index])
            result[name] = value
            result[f"{name}_interval"] = difference(mine[:size], theirs[:size], value)
        return result

    def footprint(
        self, region: str = "world", requests: float = 1, pue: float | None = None
    ) -> dict[str, Any]:
        """kWh, gCO2e and money of that many inferences in a region.

        Raises:
            UsageError: the region is not known, or a number is out of range.
        """
        return footprint(self.energy_j, self.energy_j_interval, region, requests, pue)

    @cached_property
    def advice(self) -> list[dict[str, Any]]:
        """What would save most, as the advisor that a study attached says; it is asked once, when this is read."""
        return [] if self.advisor is None else self.advisor()

    # -- parts ---------------------------------------------------------------------------------------------------------

    def ops(self) -> list[dict[str, Any]]:
        """One dict per node, costliest in joules first; their seconds and joules sum to the totals."""
        self._scalar("ops")
        return self._parts.ops()

    def modules(self) -> list[dict[str, Any]]:
        """One dict per module path, depth first, sums inclusive of children; the first is the root, path ''."""
        self._scalar("modules")
        return self._parts.modules()

    def kinds(self) -> list[dict[str, Any]]:
        """One dict per kind of work, costliest in joules first."""
        self._scalar("kinds")
        return self._parts.kinds()

    def bases(self) -> dict[str, dict[str, float]]:
        """Shares of the seconds (`latency_s`) and joules (`energy_j`) by provenance, the largest first."""
        self._scalar("bases")
        return self._parts.bases()

    @property
    def extrapolated(self) -> float:
        """The share of the seconds that lies outside of what the profile's fits were made from."""
        self._scalar("extrapolated")
        return self._parts.extrapolated()

    @property
    def borrowed(self) -> list[str]:
        """Names of other runtimes whose kernels stand for this one's, which were not timed."""
        runtimes = {row.runtime for row in self._pricer.priced}
        return sorted(runtimes - {"", self.runtime.name})

    def totals(self) -> dict[str, Any]:
        """The fields of `totals` in the JSON."""
        self._scalar("totals")
        return {
            "macs": self.macs,
            "matmul_flops": self.matmul_flops,
            "other_flops": self.other_flops,
            "bytes_read": self.bytes_read,
            "bytes_written": self.bytes_written,
            "parameters": self.parameters,
            "weight_bytes": self.weight_bytes,
            "peak_activation_bytes": self.peak_activation_bytes,
            "latency_s": self.latency_s,
            "latency_s_interval": list(self.latency_s_interval),
            "energy_j": self.energy_j,
            "energy_j_interval": list(self.energy_j_interval),
            "power_w": self.power_w,
        }

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `analyze`.

        Raises:
            DimError: a dim is bound to an array.
        """
        return answer(self)

    @property
    def notes(self) -> list[str]:
        """What a reader of these numbers has to know of how they were made."""
        return notes(self.workload, self.device)

    def to_frame(self, level: str = "op") -> Any:
        """A pandas DataFrame of the ops, modules or kinds.

        Raises:
            UsageError: `level` is not `op`, `module` or `kind`.
            DimError: a dim is bound to an array.
        """
        import pandas

        tables = {"op": self.ops, "module": self.modules, "kind": self.kinds}
        if level not in tables:
            raise UsageError(f"level {level!r} is not one of {', '.join(tables)}")
        return pandas.DataFrame(tables[level]())

    def __repr__(self) -> str:
        where = f"{self.workload.source!r} on {self.device.name}, {self.runtime.name}"
        if self.shape:
            return f"<Estimate of {where}: {np.prod(self.shape):.0f} points>"
        return f"<Estimate of {where}: {self.latency_s:.4g} s, {self.energy_j:.4g} J>"

    # -- computing -----------------------------------------------------------------------------------------------------

    def _scalar(self, what: str) -> None:
        if self.shape:
            names = ", ".join(self._points)
            raise DimError(f"{what} needs one size per dim, but arrays are bound to {names}")

    def _chunks(self, size: int) -> Iterator[dict[str, Any]]:
        points = int(np.prod(self.shape))
        for start in range(0, points, size):
            yield {**self.dims, **{n: a[start : start + size] for n, a in self._points.items()}}

    def _over_points(self, function: Any, size: int = _CHUNK) -> tuple[Any, ...]:
        """What the function says of the rows' work: floats, or arrays of the points' shape."""
        if not self.shape:
            return tuple(float(value) for value in function(self._works))
        parts = []
        for binding in self._chunks(size):
            width = len(next(binding[name] for name in self._points))
            parts.append([np.broadcast_to(v, (width,)) for v in function(self._table(binding))])
        if not parts:
            return tuple(np.zeros(self.shape) for _ in function(self._table(self.dims)))
        columns = zip(*parts, strict=True)
        return tuple(np.concatenate(column).reshape(self.shape) for column in columns)

    @cached_property
    def _works(self) -> list[RowWork]:
        return self._table(self.dims)

    @cached_property
    def _totals(self) -> tuple[Any, Any]:
        def totals(works: Sequence[RowWork]) -> tuple[Value, Value]:
            result = self._pricer.totals(works)
            return result.latency_s, result.energy_j

        latency_s, energy_j = self._over_points(totals)
        return latency_s, energy_j

    @cached_property
    def _drawn_totals(self) -> tuple[Array, Array]:
        result = self._pricer.totals(self._works, drawn=True)
        draws = self._pricer.draws
        return np.broadcast_to(result.latency_s, draws), np.broadcast_to(result.energy_j, draws)

    @cached_property
    def _intervals(self) -> tuple[Any, Any]:
        spread = self._pricer.spread
        if not self.shape:
            drawn_s, drawn_j = self._drawn_totals
            seconds = interval(
                self.latency_s, drawn_s, widen=spread.conformal_time, least=self.bound_s
            )
            joules = interval(self.energy_j, drawn_j, widen=spread.conformal_energy)
            return tuple(map(float, seconds)), tuple(map(float, joules))

        def ends(works: Sequence[RowWork]) -> tuple[Any, ...]:
            central = self._pricer.totals(works)
            drawn = self._pricer.totals(works, drawn=True, points=True)
            least = self._pricer.least_seconds(works)
            return (
                *interval(
                    central.latency_s, drawn.latency_s, widen=spread.conformal_time, least=least
                ),
                *interval(central.energy_j, drawn.energy_j, widen=spread.conformal_energy),
            )

        low_s, high_s, low_j, high_j = self._over_points(ends, _DRAWN_CHUNK)
        return (low_s, high_s), (low_j, high_j)

    def _count(self, name: str) -> Any:
        def count(works: Sequence[RowWork]) -> tuple[Value]:
            return (sum((getattr(w, name) * w.count for w in works), 0.0),)

        value = self._over_points(count)[0]
        return value if self.shape else number(value)

    @cached_property
    def _parts(self) -> Parts:
        live = self.workload.live_activation_bytes(self.dims, frames=self.runtime.frames)
        return Parts(self.workload, self._works, self._pricer, live)

"""Objective: a module's joules and seconds as one call, for the inner loop of an architecture search."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from energy_opt.errors import ModelError, UsageError
from energy_opt.estimators.device import Device
from energy_opt.estimators.estimate import Estimate
from energy_opt.estimators.runtime import Runtime
from energy_opt.studies import DEFAULT_DEVICE, choices
from energy_opt.studies.analyze import analyze

__all__ = ["Cost", "Objective"]


class _Pair(NamedTuple):
    energy_j: float
    latency_s: float


class Cost(_Pair):
    """`(energy_j, latency_s)` of one inference, in joules and seconds.

    `excess` says of every limit that was set by what share it is exceeded: 0.25 is a quarter too much, negative is
    room to spare. It is what a constraint of Optuna is: `trial.set_constraint(name, share)`.
    """

    excess: Mapping[str, float]

    def __new__(
        cls, energy_j: float, latency_s: float, excess: Mapping[str, float] | None = None
    ) -> Cost:
        """A pair, with the excess over the limits beside it."""
        made = super().__new__(cls, energy_j, latency_s)
        made.excess = dict(excess or {})
        return made

    @property
    def feasible(self) -> bool:
        """Whether every limit is kept."""
        return math.isfinite(self.energy_j) and all(share <= 0 for share in self.excess.values())


class Objective:
    """Prices modules on one device: `objective(module) -> Cost(energy_j, latency_s)`.

    The device's profile is read once, sizes are those of the example inputs, and no intervals or reports are made, so a
    call costs little more than following the module's forward. Build candidates under `torch.device("meta")`: their
    weights are never needed.
    """

    def __init__(
        self,
        device: str | Device = DEFAULT_DEVICE,
        *,
        inputs: Any = None,
        dims: Mapping[str, int] | None = None,
        dynamic: Any = None,
        runtime: str | Runtime | None = None,
        precision: str = "as-is",
        max_latency_s: float | None = None,
        max_energy_j: float | None = None,
        must_fit: bool = False,
        on_error: Literal["raise", "inf"] = "raise",
    ) -> None:
        """Settings that all candidates share.

        `inputs` are example inputs for every module; `dims` other sizes for their free dims. Limits do not change what
        is returned, only its `excess`; `must_fit` is the limit that weights and activations fit the device's memory.
        With `on_error="inf"` a module that cannot be followed costs infinity instead of raising.

        Raises:
            DeviceError, UsageError: the device, runtime, precision or a limit makes no sense.
        """
        self.device, self.runtime = choices.device(device), choices.runtime(runtime)
        if on_error not in ("raise", "inf"):
            raise UsageError(f"on_error is 'raise' or 'inf', not {on_error!r}")
        if must_fit and self.device.memory_bytes is None:
            raise UsageError(
                f"must_fit: the profile of {self.device.name} does not say how much memory it has"
            )
        self.inputs, self.dims, self.dynamic = inputs, choices.sizes(dims), dynamic
        self.precision, self.on_error = choices.precision(precision), on_error
        self.must_fit: bool = must_fit
        self.limits = {
            name: _positive(name, limit)
            for name, limit in (("latency_s", max_latency_s), ("energy_j", max_energy_j))
            if limit is not None
        }

    def __call__(self, module: Any, inputs: Any = None) -> Cost:
        """Joules and seconds of one inference of the module; `inputs` in place of those of the objective.

        Raises:
            ModelError: the module cannot be followed, unless `on_error` is "inf".
            UsageError: there are no example inputs, or they do not fit the module.
            DimError: a dim that the module does not have.
        """
        try:
            found = self.estimate(module, inputs)
            energy_j, latency_s = float(found.energy_j), float(found.latency_s)
        except ModelError:
            if self.on_error == "raise":
                raise
            names = [*self.limits, *(["memory_bytes"] if self.must_fit else [])]
            return Cost(math.inf, math.inf, dict.fromkeys(names, math.inf))
        return Cost(energy_j, latency_s, self._excess(found))

    def estimate(self, module: Any, inputs: Any = None) -> Estimate:
        """The whole estimate of a module, with intervals, modules and advice, as `analyze` gives it."""
        inputs = self.inputs if inputs is None else inputs
        if inputs is None and hasattr(module, "forward") and not hasattr(module, "config"):
            raise UsageError(
                f"{type(module).__name__} needs example inputs: objective(module, inputs), "
                "or Objective(..., inputs=inputs) for all modules"
            )
        dynamic = self.dynamic
        if dynamic is None and inputs is not None and not self.dims:
            dynamic = False  # one size is asked for, so no formulas over sizes have to be found
        return analyze(
            module, inputs, device=self.device, dynamic=dynamic, runtime=self.runtime,
            precision=self.precision, dims=self.dims,
        )  # fmt: skip

    def _excess(self, found: Estimate) -> dict[str, float]:
        excess = {
            name: float(getattr(found, name)) / limit - 1 for name, limit in self.limits.items()
        }
        memory_bytes = self.device.memory_bytes
        if self.must_fit and memory_bytes:
            needed = found.weight_bytes + float(found.peak_activation_bytes)
            excess["memory_bytes"] = needed / memory_bytes - 1
        return excess

    def __repr__(self) -> str:
        limits = "".join(f", {name} <= {limit:g}" for name, limit in self.limits.items())
        return f"<Objective on {self.device.name}{limits}{', fits its memory' * self.must_fit}>"


def _positive(name: str, limit: Any) -> float:
    if not (isinstance(limit, (int, float)) and math.isfinite(limit) and limit > 0):
        raise UsageError(f"max_{name} must be a positive number, not {limit!r}")
    return float(limit)

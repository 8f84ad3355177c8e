"""energy-opt: what a model will cost in time and energy before it is deployed, why, and what to change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "Cost",
    "CrossCheck",
    "Device",
    "EnergyOptError",
    "Estimate",
    "Graph",
    "Measurement",
    "Objective",
    "Op",
    "Runtime",
    "Watch",
    "Work",
    "Workload",
    "__version__",
    "analyze",
    "calibrate_device",
    "cross_check",
    "devices",
    "from_trace",
    "load",
    "measure_model",
    "open_meter",
    "passes",
    "rule",
    "watch",
    "watch_job",
    "workload",
]

if TYPE_CHECKING:
    from energy_opt import passes
    from energy_opt.calibrate.run import calibrate_device
    from energy_opt.errors import EnergyOptError
    from energy_opt.estimators.device import Device
    from energy_opt.estimators.estimate import Estimate
    from energy_opt.estimators.runtime import Runtime
    from energy_opt.frontend import load
    from energy_opt.frontend.pytorch.crosscheck import CrossCheck, cross_check
    from energy_opt.ir.graph import Graph
    from energy_opt.ir.op import Op, Work
    from energy_opt.ir.rules import rule
    from energy_opt.ir.workload import Workload, workload
    from energy_opt.measure.meters import open_meter
    from energy_opt.studies.analyze import analyze, devices
    from energy_opt.studies.drift import watch_job
    from energy_opt.studies.from_trace import from_trace
    from energy_opt.studies.measure import measure_model
    from energy_opt.studies.measurement import Measurement
    from energy_opt.studies.objective import Cost, Objective
    from energy_opt.studies.watch import Watch, watch

_HOME = {
    "Cost": "energy_opt.studies.objective",
    "CrossCheck": "energy_opt.frontend.pytorch.crosscheck",
    "Device": "energy_opt.estimators.device",
    "EnergyOptError": "energy_opt.errors",
    "Estimate": "energy_opt.estimators.estimate",
    "Graph": "energy_opt.ir.graph",
    "Measurement": "energy_opt.studies.measurement",
    "Objective": "energy_opt.studies.objective",
    "Op": "energy_opt.ir.op",
    "Runtime": "energy_opt.estimators.runtime",
    "Watch": "energy_opt.studies.watch",
    "Work": "energy_opt.ir.op",
    "Workload": "energy_opt.ir.workload",
    "analyze": "energy_opt.studies.analyze",
    "calibrate_device": "energy_opt.calibrate.run",
    "cross_check": "energy_opt.frontend.pytorch.crosscheck",
    "devices": "energy_opt.studies.analyze",
    "from_trace": "energy_opt.studies.from_trace",
    "load": "energy_opt.frontend",
    "measure_model": "energy_opt.studies.measure",
    "open_meter": "energy_opt.measure.meters",
    "rule": "energy_opt.ir.rules",
    "watch": "energy_opt.studies.watch",
    "watch_job": "energy_opt.studies.drift",
    "workload": "energy_opt.ir.workload",
}


def __getattr__(name: str) -> Any:
    """Names of the API are imported when first used, so that `import energy_opt` stays light."""
    import importlib

    if name == "passes":
        return importlib.import_module("energy_opt.passes")
    if name not in _HOME:
        raise AttributeError(f"module 'energy_opt' has no attribute {name!r}")
    if name in ("analyze", "Estimate", "Objective", "watch"):
        # How an estimate shows itself in a terminal or a notebook lives above it, in report/.
        from energy_opt.estimators.estimate import Estimate
        from energy_opt.report.display import attach

        attach(Estimate)
    if name in ("cross_check", "CrossCheck"):
        from energy_opt.frontend.pytorch.crosscheck import CrossCheck
        from energy_opt.report.display import attach_check

        attach_check(CrossCheck)
    if name in ("measure_model", "from_trace", "Measurement"):
        from energy_opt.report.measure import attach as attach_measurement
        from energy_opt.studies.measurement import Measurement

        attach_measurement(Measurement)
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

"""The meters of a measurement: opened by name, several at once, and what each of them said."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

from energy_opt.errors import DeviceError, MeterError
from energy_opt.estimators.device import Device
from energy_opt.measure.meters import NullMeter, SeveralMeters, open_meter, several
from energy_opt.measure.runners.target import Target
from energy_opt.measure.steady import Steady
from energy_opt.studies.detect import profile_of


@contextlib.contextmanager
def open_meters(
    given: Any, where: Target, profile: Device | None, notes: list[str], *, host: bool = False
) -> Iterator[Any]:
    """The meter to use, None for none; closed afterwards unless it was given as an object.

    `given` is `auto` (what is available for the target; what is not is noted), `none`, a name, several with commas
    between, or a meter. `profile` gives a modelled meter its watts; it models this process, or with `host` all of them.

    Raises:
        MeterError: the one meter that was named, or all of several, are not available.
    """
    if given is None or given == "none":
        yield None
        return
    if not isinstance(given, str):
        yield given
        return
    options = _watts(where, profile)
    if options and host:
        options["of"] = "host"
    chosen = _opened(given, where, options)
    if isinstance(chosen, NullMeter):
        notes.append(f"energy is not measured: {chosen.reason}")
    try:
        yield chosen
    finally:
        chosen.close()


def facts(meter: Any, trial: Steady | None = None) -> dict[str, Any]:
    """What is said of the meter beside its joules: name, boundary, provenance, stated error."""
    if meter is None:
        return {
            "meter": "none",
            "boundary": None,
            "provenance": None,
            "relative_error": None,
            "method": None,
        }
    window = trial.window if trial is not None else None
    quality = getattr(window, "quality", None)
    known = quality is not None and math.isfinite(quality.relative_error)
    first = meter.meters[0] if isinstance(meter, SeveralMeters) else meter
    return {
        "meter": getattr(first, "name", type(first).__name__),
        "boundary": getattr(window, "boundary", None) or getattr(first, "boundary", None),
        "provenance": getattr(first, "provenance", "measured"),
        "relative_error": quality.relative_error if known and quality is not None else None,
        "method": quality.method if quality is not None else None,
    }


def rows(trial: Steady) -> list[dict[str, Any]]:
    """One dict per meter: joules per inference, boundary, stated error, and how far it is from the first."""
    window = trial.window
    if window is None:
        return []
    if hasattr(window, "table"):
        found = window.table()
    elif hasattr(window, "to_dict"):
        found = [
            {
                **window.to_dict(),
                "difference": 0.0 if window.energy_j is not None else None,
                "same_boundary": True,
            }
        ]
    else:
        found = []
    for row in found:
        # Per inference, in the same way as the measurement's own number.
        power = row["mean_power_w"]
        each_s = trial.seconds / trial.energy_calls if trial.energy_calls else None
        row["energy_j_per_inference"] = power * each_s if power is not None and each_s else None
    return [dict(row) for row in found]


def _opened(names: str, where: Target, options: dict[str, Any]) -> Any:
    parts = [name.strip() for name in names.split(",") if name.strip()]
    if not parts:
        raise MeterError(
            f"meter {names!r}: no name in it; give auto, none, or names such as nvml,rapl"
        )
    if len(parts) == 1:
        return _one(parts[0], where, options)
    opened = open_meter(",".join(parts), where.name, **options)
    assert isinstance(opened, SeveralMeters)  # of several names
    # The first that works is the one the others are compared with.
    order = sorted(opened.meters, key=lambda meter: isinstance(meter, NullMeter))
    if isinstance(order[0], NullMeter):
        reasons = "; ".join(meter.reason for meter in order if isinstance(meter, NullMeter))
        raise MeterError(f"none of the meters {names} is available: {reasons}")
    return several(order)


def _one(name: str, where: Target, options: dict[str, Any]) -> Any:
    kind = name.partition(":")[0]
    mine = options if kind in ("modelled", "auto") else {}
    try:
        return open_meter(name, where.name, **mine)
    except MeterError as error:
        raise MeterError(f"{error}; --meter none measures the latency alone") from error


def _watts(where: Target, profile: Device | None) -> dict[str, Any]:
    """What a modelled meter takes: a profile's idle and full power, for all processors; {} where none is known."""
    if where.kind != "cpu":
        return {}
    with contextlib.suppress(DeviceError):
        profile = profile_of(where)[0]
    if profile is None or profile.kind != "cpu" or profile.idle_w is None:
        return {}
    return {
        "idle_w": profile.idle_w,
        "most_w": profile.tdp_w,
        "cores": where.processors,
        "boundary": profile.boundary,
    }

"""Meters by name: which there are, which work here, and opening them."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, NamedTuple

from energy_opt.errors import MeterError
from energy_opt.measure.meters import adapters
from energy_opt.measure.meters.meter import Boundary, Meter, NullMeter
from energy_opt.measure.meters.several import SeveralMeters

NAMES = ("nvml", "rapl", "modelled", "log", "zeus", "codecarbon", "pyjoules", "none")
_BOUNDARY: dict[str, Boundary | None] = {
    "nvml": "board", "rapl": "package", "modelled": "package", "log": None, "zeus": None, "codecarbon": "system",
    "pyjoules": None, "none": None,
}  # fmt: skip


class Availability(NamedTuple):
    """Whether a meter works here. `reason` says what it reads, or why not; `boundary` is None where it depends."""

    name: str
    available: bool
    reason: str
    boundary: Boundary | None


def available() -> list[Availability]:
    """Every meter by name and whether it works here, in a few milliseconds: nothing heavy is imported."""
    rows = [_nvml(), _rapl()]
    modelled = "a model, not a measurement: takes idle and most watts"
    rows.append(Availability("modelled", True, modelled, "package"))
    rows.append(Availability("log", True, "takes a file that a logger writes (log:FILE)", None))
    for name, package in adapters.PACKAGES.items():
        there = adapters.installed(name)
        reason = f"package {package} is installed"
        if not there:
            reason = f"not installed; pip install {package}"
        rows.append(Availability(name, there, reason, _BOUNDARY[name]))
    return rows


def open_meter(name: str = "auto", device: str | int | None = None, **options: Any) -> Meter:
    """The meter of a name, or several of names separated by commas.

    Names are `nvml`, `nvml:1`, `nvml:all`, `rapl`, `modelled`, `log:FILE`, `zeus`, `codecarbon`, `pyjoules`, `none`.

    `device` is what is measured: `cpu`, `cuda:1` or a number. `auto` takes what fits the device and answers with a null
    meter, which says why, where there is nothing. Of several, those that do not work here are null meters too.
    `options` go to the meter: `idle_w` and `most_w` of the modelled one, `boundary` of a log, `least_window_s`.

    Raises:
        MeterError: there is no meter of that name, or it does not work here.
    """
    if "," in name:
        return _several(name, device, options)
    if name == "auto":
        return _auto(device, options)
    kind, _, detail = name.partition(":")
    index = _index(name, detail if kind != "log" else "", device)
    if kind == "nvml":
        if index == "all":
            return _all_nvml(options)
        from energy_opt.measure.meters.nvml import NvmlMeter

        return NvmlMeter(int(index or 0), **options)
    if kind == "rapl":
        from energy_opt.measure.meters.rapl import RaplMeter

        return RaplMeter(**options)
    if kind == "modelled":
        return _modelled(options)
    if kind == "log":
        return _log(detail, options)
    if kind == "zeus":
        return adapters.ZeusMeter(int(index or 0), **options)
    if kind == "codecarbon":
        return adapters.CodeCarbonMeter(**options)
    if kind == "pyjoules":
        return adapters.PyJoulesMeter(None if index in (None, "all") else int(index), **options)
    if kind == "none":
        return NullMeter(options.get("reason", "no meter was asked for"))
    raise MeterError(f"no meter {name!r}; there are {', '.join(NAMES)}")


def _several(names: str, device: str | int | None, options: dict[str, Any]) -> Meter:
    """Each its own options only; what does not work here says why in its row."""
    meters: list[Meter] = []
    for name in (part.strip() for part in names.split(",") if part.strip()):
        kind = name.partition(":")[0]
        if kind not in NAMES:
            raise MeterError(f"no meter {name!r}; there are {', '.join(NAMES)}")
        mine = {key: value for key, value in options.items() if key in _OPTIONS.get(kind, ())}
        try:
            meters.append(open_meter(name, device, **mine))
        except MeterError as error:
            meters.append(NullMeter(str(error), name, _BOUNDARY[kind] or "system"))
    return SeveralMeters(meters)


_OPTIONS = {
    "nvml": ("nvml", "clock", "environ", "least_window_s", "watch_s"),
    "rapl": ("root", "clock"),
    "modelled": ("idle_w", "most_w", "cores", "of", "boundary", "clock", "busy_s"),
    "log": ("boundary", "gpu", "start_s", "offset_s", "patience_s", "clock"),
}


def _auto(device: str | int | None, options: dict[str, Any]) -> Meter:
    on_gpu = isinstance(device, int) or (isinstance(device, str) and not device.startswith("cpu"))
    reasons = []
    for name in ("nvml",) if on_gpu else ("rapl", "modelled"):
        mine = {key: value for key, value in options.items() if key in _OPTIONS[name]}
        try:
            return open_meter(name, device if on_gpu else None, **mine)
        except MeterError as error:
            reasons.append(str(error))
    return NullMeter("; ".join(reasons), boundary="board" if on_gpu else "package")


def _all_nvml(options: dict[str, Any]) -> Meter:
    from energy_opt.measure.meters.cuda_visible import visible_gpus
    from energy_opt.measure.meters.nvml import NvmlMeter, load

    gpus = visible_gpus(load(options.get("nvml")), options.get("environ"))
    return SeveralMeters(
        [
            NullMeter(gpu.reason, f"nvml:{gpu.index}", "board")
            if gpu.reason
            else NvmlMeter(gpu.index, **options)
            for gpu in gpus
        ]
    )


def _modelled(options: dict[str, Any]) -> Meter:
    from energy_opt.measure.meters.modelled import ModelledMeter

    if "idle_w" not in options or "most_w" not in options:
        raise MeterError(
            "meter modelled: give idle_w and most_w, the watts of all cores idle and busy (a device profile has them)"
        )
    return ModelledMeter(**options)


def _log(detail: str, options: dict[str, Any]) -> Meter:
    from energy_opt.measure.meters.log_meter import LogMeter

    if not detail:
        raise MeterError("meter log: name the file that the logger writes: log:FILE")
    return LogMeter(detail, **options)


def _index(name: str, detail: str, device: str | int | None) -> int | str | None:
    """Which GPU: of the meter's name first, else of the device."""
    wanted = detail or device
    if wanted is None or isinstance(wanted, int):
        return wanted
    number = wanted.rpartition(":")[2]
    if number.isdigit():
        return int(number)
    if number in ("all", "cuda", "cpu", "gpu"):
        return "all" if number == "all" else None
    raise MeterError(f"meter {name}: {wanted!r} names no device; cpu, cuda:0, cuda:1, ... or all")


def _nvml() -> Availability:
    if find_spec("pynvml") is None:
        return Availability("nvml", False, "not installed; pip install nvidia-ml-py", "board")
    from energy_opt.measure.meters.cuda_visible import visible_gpus
    from energy_opt.measure.meters.nvml import load

    try:
        gpus = visible_gpus(load())
    except MeterError as error:
        return Availability("nvml", False, str(error).removeprefix("meter nvml: "), "board")
    said = [gpu.reason or f"GPU {gpu.index}: {gpu.name}" for gpu in gpus]
    return Availability("nvml", any(not gpu.reason for gpu in gpus), "; ".join(said), "board")


def _rapl() -> Availability:
    from energy_opt.measure.meters.rapl import ROOT, find

    try:
        domains = find(ROOT)
    except MeterError as error:
        return Availability("rapl", False, str(error).removeprefix("meter rapl: "), "package")
    counted = ", ".join(domain.name for domain in domains if domain.counted)
    return Availability("rapl", True, f"counts {counted}", "package")

"""The sentences that the terminal report and the page share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from energy_opt import units
from energy_opt.report.escape import plain

_LATENCY_ORIGIN = {
    "datasheet": "predicted from datasheet facts, not measured on this device",
    "fitted": "predicted with coefficients fitted to published measurements of this device",
    "measured": "predicted with coefficients measured on this device by calibrate",
}
_ENERGY_ORIGIN = {
    "datasheet": "predicted from datasheet facts",
    "fitted": "predicted with coefficients fitted to published measurements",
    "measured": "predicted with coefficients metered on this device",
    "modelled": "modelled from power facts, not metered",
}
_BOUNDARY = {
    "board": "the accelerator board (host, fans and power supply are not in it)",
    "package": "the processor package (memory, board and power supply are not in it)",
    "system": "the system at the wall (for a profile of some vCPUs, their share of the server)",
}
_DIM_ORIGIN = {
    "trip": "is how often a loop runs, which the file does not say; it was not given",
    "data": "depends on the input's values; it was not given",
}
_SETTING, _IN_MEMORY = " --set ", " in memory"
BOUND_MEANING = {
    "compute": "arithmetic units are busy: fewer or narrower operations help",
    "memory": "waits for memory: fusing ops, smaller types and larger batches help",
    "launch": "so small that starting it costs more than running it: larger batches, fusion or graphs help",
}


def model_name(analysis: Mapping[str, Any]) -> str:
    """The model as the user named it, without folders and settings; of a module in memory its class."""
    path = _source(analysis).partition(_SETTING)[0].removesuffix(_IN_MEMORY)
    name = path.replace("\\", "/").rstrip("/").rpartition("/")[2] or path
    return plain(name, 120)


def settings(analysis: Mapping[str, Any]) -> list[str]:
    """The settings that changed a config, each as `key=value`."""
    return [plain(part, 120) for part in _source(analysis).split(_SETTING)[1:]]


def in_memory(analysis: Mapping[str, Any]) -> bool:
    """Whether the model was an object of Python, so that no command line names it."""
    return _source(analysis).endswith(_IN_MEMORY)


def _source(analysis: Mapping[str, Any]) -> str:
    model = analysis.get("model") or {}
    return str(model.get("source") or model.get("name") or "model")


def device_name(analysis: Mapping[str, Any]) -> str:
    """The device's label, or its slug."""
    device = analysis.get("device") or {}
    return plain(device.get("label") or device.get("name") or "unknown device", 80)


def dims(analysis: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    """Every dim as (name, value, whether nobody chose it)."""
    info = analysis.get("dims_info") or {}
    return [
        (plain(name, 40), plain(value, 40), bool((info.get(name) or {}).get("defaulted")))
        for name, value in (analysis.get("dims") or {}).items()
    ]


def level(analysis: Mapping[str, Any]) -> str:
    """The intervals' level as text: `90 %`."""
    value = analysis.get("interval_level")
    return units.share(float(value)) if value else "90 %"


def provenance(analysis: Mapping[str, Any]) -> list[str]:
    """Where the numbers come from, and what the energy includes, as sentences."""
    device = analysis.get("device") or {}
    latency, energy = (
        str(device.get("provenance") or ""),
        str(device.get("energy_provenance") or ""),
    )
    origin = _ENERGY_ORIGIN.get(energy, plain(energy or "of unknown origin", 80))
    boundary = plain(device.get("boundary") or "an unknown part", 80)
    lines = [
        f"Latency: {_LATENCY_ORIGIN.get(latency, plain(latency or 'of unknown origin', 80))}"
        f"{_shares(analysis, 'latency_s')}.",
        f"Energy: {origin}{_shares(analysis, 'energy_j')}; it covers {_BOUNDARY.get(boundary, boundary)}.",
        f"Ranges are {level(analysis)} intervals.",
    ]
    unverified = len(device.get("unverified") or ())
    if unverified:
        some = (
            f"{unverified} facts of this device are"
            if unverified > 1
            else "One fact of this device is"
        )
        slug = plain(device.get("name") or "", 60)
        lines.append(f"{some} unverified: `energy-opt devices {slug}` names them and the sources.")
    return lines


def _shares(analysis: Mapping[str, Any], quantity: str) -> str:
    """What a total rests on, where that is more than one thing: ` (92 % fitted, 8 % datasheet)`."""
    bases = ((analysis.get("coverage") or {}).get("rests_on") or {}).get(quantity) or {}
    shown = [
        f"{units.share(part)} {plain(name, 20)}" for name, part in bases.items() if part >= 0.005
    ]
    return f" ({', '.join(shown)})" if len(shown) > 1 else ""


def assumptions(analysis: Mapping[str, Any]) -> list[str]:
    """A sentence for each thing that nobody chose: what was taken, and how to choose; many dims share one."""
    info: Mapping[str, Any] = analysis.get("dims_info") or {}
    free = [(name, value) for name, value, defaulted in dims(analysis) if defaulted]
    lines = []
    device = analysis.get("device") or {}
    if device.get("assumed"):
        slug = plain(device.get("name"), 60)
        lines.append(
            f"no --device was given, so {slug} was assumed; `energy-opt devices` lists them."
        )
    how = "pass {}=N" if in_memory(analysis) else "set it with --dim {}=N"
    for name, value in free[:4]:
        known = info.get(name) or {}
        where = f" ({plain(known['where'], 80)})" if known.get("where") else ""
        why = _DIM_ORIGIN.get(str(known.get("origin")), "was not given")
        lines.append(f"{name}{where} {why} and taken as {value}; {how.format(name)}.")
    if len(free) > 4:
        names = ", ".join(name for name, _ in free[4:16]) + (", …" if len(free) > 16 else "")
        lines.append(
            f"{len(free) - 4} more sizes were not given and stand at their defaults: {names}."
        )
    return lines


def coverage(analysis: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether every op had a rule, and a sentence that says how many did and names those that did not."""
    found = analysis.get("coverage") or {}
    ops, modelled = int(found.get("ops") or 0), int(found.get("modelled") or 0)
    missing: Mapping[str, Any] = found.get("unmodelled") or {}
    if not missing and ops == modelled:
        return True, f"all {ops:,} ops are modelled"
    names = ", ".join(f"{plain(name, 40)} ({count})" for name, count in list(missing.items())[:8])
    more = f" and {len(missing) - 8} more types" if len(missing) > 8 else ""
    return False, (
        f"{modelled:,} of {ops:,} ops are modelled; the rest have no rule and are priced as memory traffic alone, "
        f"so their compute is missing: {names}{more}"
    )


def per_item(analysis: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Energy in joules per natural unit: per item of the batch, per token, where the dims name them."""
    total = (analysis.get("totals") or {}).get("energy_j")
    values = analysis.get("dims") or {}
    if total is None:
        return []
    batch, seq = values.get("batch"), values.get("seq")
    found = []
    if isinstance(batch, int) and batch > 1:
        found.append(("energy per item", total / batch))
    if isinstance(seq, int) and seq > 1:
        found.append(("energy per token", total / (seq * (batch if isinstance(batch, int) else 1))))
    return found


def footprint(analysis: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Deployment totals as (what, value, remark); empty unless a footprint was asked for."""
    found = analysis.get("footprint")
    if not found:
        return []
    interval: Sequence[float] | None = found.get("energy_kwh_interval")
    ends = [1e3 * float(end) for end in interval] if interval else None
    kwh = found.get("energy_kwh")
    remark = units.bounds(None if kwh is None else 1e3 * kwh, ends, "Wh")
    region = plain(found.get("region") or "unknown region", 60)
    rows = [
        ("inferences", f"{found.get('requests') or 0:,}", ""),
        ("electricity", units.kwh(kwh), remark),
    ]
    if found.get("pue") is not None:
        rows[-1] = (
            rows[-1][0],
            rows[-1][1],
            "; ".join(filter(None, [remark, f"PUE {found['pue']:g}"])),
        )
    if found.get("co2e_g") is not None:
        grid = found.get("grid_g_per_kwh")
        rows.append(
            (
                "emissions",
                units.co2e(found["co2e_g"]),
                region + (f", {grid:g} g/kWh" if grid else ""),
            )
        )
    if found.get("cost_usd") is not None:
        price = found.get("usd_per_kwh")
        rows.append(("cost", units.usd(found["cost_usd"]), f"{price:g} USD/kWh" if price else ""))
    return rows


def sentence(value: object, limit: int) -> str:
    """`value` made plain, with a capital first letter."""
    shown = plain("" if value is None else value, limit)
    return shown[:1].upper() + shown[1:]


def saving(advice: Mapping[str, Any]) -> str:
    """What a step is predicted to save: `saves 0.55 J (54 %)`; empty where nobody predicted it."""
    joules, fraction = advice.get("saving_j"), advice.get("saving_fraction")
    if joules is None and fraction is None:
        return ""
    if joules is None:
        return f"saves {units.share(fraction)}"
    return f"saves {units.energy(joules)}" + (
        f" ({units.share(fraction)})" if fraction is not None else ""
    )

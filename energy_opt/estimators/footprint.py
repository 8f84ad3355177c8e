"""Joules to kWh, grams of CO2e and money: what a number of requests costs in a region."""

from __future__ import annotations

import functools
import json
import math
from pathlib import Path
from typing import Any

from energy_opt.errors import UsageError

_REGIONS = Path(__file__).parent / "regions.json"
J_PER_KWH = 3.6e6


def footprint(
    energy_j: Any,
    energy_j_interval: Any,
    region: str = "world",
    requests: float = 1,
    pue: float | None = None,
) -> dict[str, Any]:
    """kWh at the data centre's meter, gCO2e (location based, operation only) and USD of `requests` times that energy.

    Raises:
        UsageError: the region is not known, or `requests` or `pue` is out of range.
    """
    data = _data()
    place = _find(region)
    facts = data["regions"][place]
    if not (math.isfinite(requests) and requests >= 0):
        raise UsageError(f"requests is {requests}; a number of at least 0 is needed")
    if pue is not None and not (math.isfinite(pue) and pue >= 1):
        raise UsageError(f"pue is {pue}; total power over IT power is at least 1")
    factor = data["pue"]["value"] if pue is None else pue
    scale = requests * factor / J_PER_KWH
    low, high = energy_j_interval
    return {
        "requests": requests,
        "energy_kwh": energy_j * scale,
        "energy_kwh_interval": [low * scale, high * scale],
        "co2e_g": energy_j * scale * facts["grid_g_per_kwh"],
        "co2e_g_interval": [end * scale * facts["grid_g_per_kwh"] for end in (low, high)],
        "cost_usd": energy_j * scale * facts["usd_per_kwh"],
        "pue": factor,
        "region": place,
        "grid_g_per_kwh": facts["grid_g_per_kwh"],
        "usd_per_kwh": facts["usd_per_kwh"],
        "sources": [
            facts["grid_source"],
            facts["price_source"],
            *([data["pue"]["source"]] if pue is None else []),
        ],
        "unverified": list(facts.get("unverified", [])),
    }


def regions() -> list[str]:
    """Names of the regions there is data for."""
    return list(_data()["regions"])


def _find(region: str) -> str:
    wanted = region.strip().lower().replace(" ", "-").replace("_", "-")
    known = _data()["regions"]
    for name, facts in known.items():
        if wanted == name or wanted in facts["aliases"]:
            return str(name)
    raise UsageError(f"region {region!r} is not known; there are {', '.join(known)}")


@functools.cache
def _data() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(_REGIONS.read_text(encoding="utf-8"))
    return data

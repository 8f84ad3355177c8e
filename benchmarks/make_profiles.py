"""Write the datasheet profiles that ship with the package from a table of device facts.

    python benchmarks/make_profiles.py --data DIR

DIR holds devices.csv (or its folder `reference` does): one row per device with peaks, bandwidth, power, the source of
each and what is unverified. Devices and facts that the table lacks are in device_facts.py, marked as such. CPU rows
of the table hold watts per vCPU only; what follows from the microarchitecture is there too.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
from pathlib import Path
from typing import Any

from device_facts import CPUS, EXTRA, FLOAT64_TFLOPS, GRAVITONS, LABELS, NO_ENERGY, SLUGS, Cpu

PROFILES = Path(__file__).parents[1] / "energy_opt" / "estimators" / "profiles"

VCPUS = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="devices.csv or its directory")
    table = _table(parser.parse_args().data)
    profiles = [gpu(row) for row in table if row["kind"] == "gpu"]
    profiles += [gpu_extra(facts) for facts in EXTRA]
    for row in table:
        if row["kind"] == "cpu":
            profiles += cpus(row)
    for profile in profiles:
        path = PROFILES / f"{profile['name']}.json"
        path.write_text(json.dumps(profile, indent=1) + "\n", encoding="utf-8")
        print(path.name)


def _table(path: Path) -> list[dict[str, str]]:
    found = [
        p
        for p in (
            path,
            path / "devices.csv",
            path / "reference" / "devices.csv",
            path.parent / "reference" / "devices.csv",
        )
        if p.is_file()
    ]
    with found[0].open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(";") if part.strip()]


def gpu(row: dict[str, str]) -> dict[str, Any]:
    """The profile of a GPU row of the table."""
    name = SLUGS[row["device"]]
    half = _number(row["fp16_bf16_dense"])
    peaks = {
        "float64": FLOAT64_TFLOPS[name],
        "float32": _number(row["fp32_tflops"]),
        "tf32": _number(row["tf32_dense"]),
        "float16": half,
        "bfloat16": half if row["bf16_supported"] == "yes" else None,
        "float8": _number(row["fp8_dense"]),
        "int8": _number(row["int8_dense_tops"]),
    }
    vector = _number(row["fp32_tflops"])
    bandwidth, l2, memory = (_number(row[c]) for c in ("mem_bw_gbs", "l2_mb(or_L3)", "mem_gb"))
    if not (vector and bandwidth and l2 and memory):
        raise SystemExit(f"{row['device']}: a number is missing")
    unverified = [*_split(row["unverified"]), "float64 peak from memory"]
    if name == "b200-sxm":
        peaks["float4"] = 9000.0
    return _finish(
        {
            "name": name,
            "label": LABELS[name],
            "kind": "gpu",
            "arch": row["arch"],
            "units": int(row["sm_or_cores"]),
            "clock_hz": float(row["boost_mhz"]) * 1e6,
            "peaks": {dtype: peak * 1e12 for dtype, peak in peaks.items() if peak},
            "vector_flops_per_s": vector * 1e12,
            "mem_bw_bytes_per_s": bandwidth * 1e9,
            "l2_bytes": l2 * 1e6,
            "memory_bytes": memory * 1e9,
            "tdp_w": float(row["tdp_w"]),
            "idle_w": _number(row["idle_bare_w"]),
            "idle_context_w": _number(row["idle_ctx_w"]),
            "sources": _split(row["source"]),
            "unverified": unverified,
        }
    )


def gpu_extra(facts: dict[str, Any]) -> dict[str, Any]:
    """The profile of a GPU that the table lacks."""
    return _finish({"kind": "gpu", **facts})


def _finish(facts: dict[str, Any]) -> dict[str, Any]:
    facts = {key: value for key, value in facts.items() if value is not None}
    return {
        "schema": "energy-opt/device/1",
        **facts,
        "boundary": "board",
        "energy_ground_truth": facts["name"] not in NO_ENERGY,
        "provenance": {"peaks": "datasheet", "time": "datasheet", "energy": "modelled"},
    }


def cpus(row: dict[str, str]) -> list[dict[str, Any]]:
    """The profiles that a CPU row of the table stands for."""
    watts = [float(v.split()[0]) for v in row.values() if re.match(r"[0-9.]+ per vCPU", v or "")]
    least, most = min(watts), max(watts)
    if row["device"].startswith("Graviton"):
        return [cpu(family, least, most, proxy=True) for family in GRAVITONS]
    return [cpu(CPUS[row["device"]], least, most)]


def cpu(family: Cpu, least: float, most: float, proxy: bool = False) -> dict[str, Any]:
    """The profile of `VCPUS` vCPUs of a CPU family that draw so many W each."""
    cores = VCPUS / family.vcpus_per_core
    float32 = cores * family.float32_flops_per_cycle * family.ghz * 1e9
    peaks = {"float64": float32 / 2, "float32": float32}
    peaks |= {dtype: float32 * by for dtype, by in family.multiples.items()}
    unverified = [
        f"peaks: {family.float32_flops_per_cycle} float32 FLOPs per cycle and core at {family.ghz} GHz under wide "
        "vectors, from memory",
        f"bandwidth: {family.core_gbs} GB/s per core of a socket with {family.memory} ({family.socket_gbs} GB/s), "
        "from memory",
        f"a socket of {family.cores} cores with {family.vcpus_per_core} vCPU per core",
    ]
    if proxy:
        unverified.append("power: no SPECpower result; EPYC Rome stands in for it")
    return {
        "schema": "energy-opt/device/1",
        "name": family.slug,
        "label": f"{family.label}, {VCPUS} vCPUs",
        "kind": "cpu",
        "arch": re.sub(r".*\((.*)\)", r"\1", family.label),
        "units": max(1, int(cores)),
        "clock_hz": family.ghz * 1e9,
        "peaks": peaks,
        "vector_flops_per_s": float32,
        "mem_bw_bytes_per_s": min(family.socket_gbs, family.core_gbs * cores) * 1e9,
        "tdp_w": round(most * VCPUS, 3),
        "idle_w": round(least * VCPUS, 3),
        "boundary": "system",  # SPECpower is read at the wall: memory, fans and supply included
        "energy_ground_truth": False,
        "provenance": {"peaks": "modelled", "time": "datasheet", "energy": "modelled"},
        "scaling": {
            "vcpus": VCPUS,
            "max_vcpus": family.cores * family.vcpus_per_core,
            "socket_bw_bytes_per_s": family.socket_gbs * 1e9,
        },
        "sources": [
            "least and most W per vCPU: Cloud Carbon Footprint, ccf-coefficients, from SPECpower",
        ],
        "unverified": unverified,
        "notes": [
            f"{VCPUS} vCPUs of a shared socket; scale with {family.slug}@N. Power is these vCPUs' share of the "
            "whole server at the least and the most load, so it includes memory and fans",
        ],
    }


if __name__ == "__main__":
    main()

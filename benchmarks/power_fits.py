"""Energy fits of the devices in public power tables, for the profiles that ship, and what they say in plain units.

    python benchmarks/power_fits.py --data DIR

The kernels of all frameworks together, since a profile does not name one. Schemes with a scale per block are left out:
they run in software on one of the devices.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from measured_power import PowerPart, power_parts
from power_instrument import fit_instrument

from energy_opt.calibrate.fit_all import box_of, join
from energy_opt.calibrate.fit_energy import energy_at, fit_energy, joules, readings_of
from energy_opt.calibrate.power_model import pool
from energy_opt.calibrate.samples import Samples
from energy_opt.estimators.device import Device
from energy_opt.estimators.fitted import Fitted
from energy_opt.estimators.regimes import regime_of

MOST = 1000
FEWEST = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    show(parser.parse_args().data)


def energy_fits(
    data: Path, source: str = "aiconfigurator power readings"
) -> Iterator[tuple[Device, Fitted]]:
    """The device as it was metered, and a fit of energy alone, per device, kind, type and regime."""
    for (_, kind, dtype, regime), (device, samples, share) in metered(data).items():
        energy = fit_energy(samples, device=device, idle_share=share, source=source, basis="fitted")
        yield (
            device,
            Fitted(kind=kind, dtype=dtype, regime=regime, energy=energy, box=box_of(samples)),
        )


def metered(data: Path) -> dict[tuple[str, str, str, str], tuple[Device, Samples, Any]]:
    """Device, samples and the idle part of their readings, by device, kind, type and regime."""
    found: dict[tuple[str, str, str, str], list[tuple[PowerPart, Any]]] = defaultdict(list)
    for part in power_parts(data):
        if "block" in part.samples.op or len(part) < FEWEST:
            continue
        few = part.sample(MOST)
        share = idle_share(few)
        regimes = np.broadcast_to(regime_of(few.samples.kind, few.samples.work.sizes), len(few))
        for regime in np.unique(regimes):
            key = (part.device.name, few.samples.kind, few.samples.dtype, str(regime))
            found[key].append((few.take(regimes == regime), share[regimes == regime]))
    return {
        key: (
            parts[0][0].device,
            join([part.samples for part, _ in parts]),
            np.concatenate([share for _, share in parts]),
        )
        for key, parts in sorted(found.items())
    }


def idle_share(part: PowerPart) -> Any:
    """The part of each reading that is of an idle device, as other shapes of the collection tell."""
    instrument = fit_instrument(readings_of(part.samples, part.device), part.shape, part.readings)
    return instrument.idle_share(part.shape, part.readings)


def show(data: Path) -> None:
    """Prints coefficients, errors, and what a FLOP and a byte cost with everything in, then what pools."""
    print("base W, pJ/FLOP, pJ/other FLOP, pJ/byte, uJ/start, and errors (%) on left-out shapes")
    for device, fit in energy_fits(data):
        assert fit.energy is not None
        at, errors = fit.energy.at, fit.energy.errors
        print(
            f"{device.name:10s} {fit.kind:10s} {fit.dtype:9s} {fit.regime:8s} {at['base_w']:7.0f} "
            f"{1e12 * at['flop_j']:8.3f} {1e12 * at['vector_flop_j']:8.3f} {1e12 * at['byte_j']:8.1f} "
            f"{1e6 * at['start_j']:8.0f}  mape {100 * errors.mape:5.1f} p90 {100 * errors.p90:5.1f} "
            f"bias {100 * errors.bias:5.1f} sd {errors.log_sd:.2f} n {errors.points}"
        )
    parts = metered(data)
    for (name, kind, dtype, regime), (device, samples, share) in parts.items():
        cost = joules(
            energy_at(samples, device=device, idle_share=share), samples.work, samples.latency_s
        )
        for what, amount, rate in (
            ("FLOP", np.asarray(samples.work.matmul_flops), device.peak(dtype)),
            ("byte", np.asarray(samples.work.bytes), device.mem_bw_bytes_per_s),
        ):
            use = amount / samples.latency_s / rate
            busy = use >= np.quantile(use, 0.95)
            if np.median(use[busy]) > 0.4:
                print(
                    f"{name:10s} {kind:10s} {dtype:9s} {regime:8s} with everything in, pJ/{what} "
                    f"{1e12 * np.median(cost[busy] / amount[busy]):8.3f} at {np.median(use[busy]):.2f} of the peak"
                )
    for key in sorted({key[1:] for key in parts}):
        same = [entry for k, entry in parts.items() if k[1:] == key]
        model = pool([(s, d) for d, s, _ in same], [share for *_, share in same])
        shares = " ".join(f"{name} {value:.2f}" for name, value in model.shares.items())
        print(
            f"pooled {' '.join(key):28s} {shares}; {len(model.devices)} devices, left out "
            f"{100 * model.errors.mape:.1f} % off, spread {model.spread:.2f}"
        )


if __name__ == "__main__":
    main()

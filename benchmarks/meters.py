"""How far off are the ways to meter a GPU, what do they say of themselves, and what do they cost?

    python benchmarks/meters.py [--repeats 60] [--overhead-seconds 1.0] [--json FILE]

A fake GPU, whose true energy is known, is metered over windows of 0.05 to 10 s by the same code that reads a driver:
the counter on its ticks, the counter read naively, power integrated (instantaneous, and as the 1 s moving average that
recent parts give), and what a loop around nvidia-smi would say. All of that runs on virtual time. Overhead is CPU time
of this process with the fake in the driver's place: Python's own cost, and the fake's, without the driver's.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from energy_opt.errors import MeterError
from energy_opt.measure.meters.clock import SystemClock
from energy_opt.measure.meters.nvml import LEAST_WINDOW_S, NvmlMeter
from energy_opt.measure.meters.replay import FakeGpu, FakeGpuSettings, FakeNvml

WINDOWS_S = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 3.0, 10.0)
TICKS_S = (0.02, 0.05, 0.1)
Work = Iterator[tuple[float, float]]  # (power_w, seconds), without end


def steady(rng: random.Random) -> Work:
    power = rng.uniform(150, 650)
    while True:
        yield power * rng.uniform(0.99, 1.01), 0.01


def ramp(rng: random.Random) -> Work:
    """Warming up: power climbs by a quarter over 3 s."""
    power, at = rng.uniform(200, 500), 0.0
    while True:
        yield power * (1 + 0.25 * min(at / 3, 1)), 0.01
        at += 0.01


def kernels(rng: random.Random) -> Work:
    """Layers of a model: kernels of 1 to 20 ms between 0.4 and 1 of the limit."""
    while True:
        yield rng.uniform(280, 700), rng.uniform(0.001, 0.02)


def requests(rng: random.Random) -> Work:
    """Serving: bursts of 30 to 120 ms and pauses of 10 to 60 ms."""
    while True:
        yield rng.uniform(350, 650), rng.uniform(0.03, 0.12)
        yield 90.0, rng.uniform(0.01, 0.06)


SHAPES = {"steady": steady, "ramp": ramp, "kernels": kernels, "requests": requests}
Answer = tuple[float | None, float | None]  # joules, stated relative error


def submit(gpu: FakeGpu, work: Work, seconds: float) -> None:
    left = seconds
    while left > 1e-9:
        power, length = next(work)
        gpu.submit(power, min(length, left))
        left -= min(length, left)


def ours(**how: object) -> Callable[[FakeGpu, Work, float], Answer]:
    def run(gpu: FakeGpu, work: Work, seconds: float) -> Answer:
        meter = NvmlMeter(nvml=FakeNvml(gpu), environ={}, least_window_s=0.0, **how)  # type: ignore[arg-type]
        warm(gpu, work)
        try:
            with meter.window(sync=gpu.synchronize) as window:
                submit(gpu, work, seconds)
        except MeterError:
            return None, None
        return window.energy_j, window.quality.relative_error

    return run


def naive_counter(gpu: FakeGpu, work: Work, seconds: float) -> Answer:
    warm(gpu, work)
    before = gpu.counter_mj()
    submit(gpu, work, seconds)
    gpu.synchronize()
    return (gpu.counter_mj() - before) / 1e3, None


def naive_smi(gpu: FakeGpu, work: Work, seconds: float) -> Answer:
    """Mean of power.draw every 100 ms while the work ran, times the time."""
    warm(gpu, work)
    readings, end = [], gpu.clock.now() + seconds
    submit(gpu, work, seconds)
    while not readings or gpu.clock.now() < end - 1e-9:
        readings.append(gpu.reading_mw(gpu.settings.averaging_s) / 1e3)
        gpu.clock.sleep(min(0.1, max(end - gpu.clock.now(), 1e-6)))
    return statistics.mean(readings) * seconds, None


def warm(gpu: FakeGpu, work: Work) -> None:
    submit(gpu, work, 0.3)
    gpu.synchronize()


METHODS = {
    "counter on ticks (ours)": (ours(), {}),
    "counter, naive": (naive_counter, {}),
    "power integral (ours)": (ours(use_counter=False), {"counter": False}),
    "1 s average unrolled (ours)": (ours(use_counter=False), {"counter": False, "instant": False, "architecture": 8}),
    "nvidia-smi loop": (naive_smi, {"architecture": 8}),
}  # fmt: skip


def trial(method: str, shape: str, tick_s: float, seconds: float, duty: float, seed: int) -> Answer:
    """(relative error, stated relative error) of one window; None where it was refused."""
    run, settings = METHODS[method]
    # The generation says whether the meter knows that its sensor looks part of the time.
    settings = {"architecture": 9 if duty < 1 else 10, **settings}
    gpu = FakeGpu(settings=FakeGpuSettings(tick_s=tick_s, duty=duty, seed=seed, **settings))
    gpu.clock.sleep(random.Random(seed).uniform(0, 1))
    seconds *= random.Random(seed + 1).uniform(1, 1.2)  # or else windows are whole ticks long
    told, stated = run(gpu, SHAPES[shape](random.Random(seed)), seconds)
    if told is None:
        return None, None
    true = gpu.energy_j(gpu.busy_until_s) - gpu.energy_j(gpu.busy_until_s - seconds)
    return told / true - 1, stated


def accuracy(
    repeats: int, ticks: tuple[float, ...], duty: float, methods: Iterable[str] = METHODS
) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for method in methods:
        for seconds in WINDOWS_S:
            errors, stated, refused = [], [], 0
            for shape in SHAPES:
                for tick_s in ticks:
                    for seed in range(repeats // len(SHAPES)):
                        error, says = trial(method, shape, tick_s, seconds, duty, seed)
                        if error is None:
                            refused += 1
                            continue
                        errors.append(error)
                        if says is not None:
                            stated.append((says, abs(error)))
            rows.append(summary(method, seconds, errors, stated, refused))
    return rows


def summary(
    method: str,
    seconds: float,
    errors: list[float],
    stated: list[tuple[float, float]],
    refused: int,
) -> dict[str, object]:
    row: dict[str, object] = {
        "method": method,
        "window_s": seconds,
        "n": len(errors),
        "refused": refused,
    }
    if errors:
        row["bias"] = 100 * statistics.mean(errors)
        row["mean_error"] = 100 * statistics.mean(map(abs, errors))
        row["p95_error"] = 100 * float(np.quantile(np.abs(errors), 0.95))
    if stated:
        row["stated"] = 100 * statistics.median(says for says, _ in stated)
        row["covered"] = 100 * statistics.mean(error <= says for says, error in stated)
    return row


FORMS = {"bias": ".2f", "mean_error": ".2f", "p95_error": ".2f", "stated": ".1f", "covered": ".0f"}


def show(title: str, rows: list[dict[str, object]]) -> None:
    print(f"\n{title}")
    heads = ("method", "window s", "bias %", "mean %", "P95 %", "stated %", "covered %", "n")
    print(f"{heads[0]:30}" + "".join(f"{head:>10}" for head in heads[1:]))
    last = None
    for row in rows:
        name, last = ("" if row["method"] == last else row["method"]), row["method"]
        cells = [f"{row['window_s']:>10}"]
        if not row["n"]:
            print(f"{name!s:30}{cells[0]}   refused: the meter's own least is longer")
            continue
        for key, form in FORMS.items():
            cells.append(f"{format(row[key], form):>10}" if key in row else f"{'-':>10}")
        print(f"{name!s:30}{''.join(cells)}{row['n']:>10}")


def overhead(seconds: float, windows: int = 5) -> list[dict[str, object]]:
    """CPU µs of this process per window over those of the same sleep, and seconds added to the run."""
    rows: list[dict[str, object]] = []
    for tick_s in TICKS_S:
        for label, settings, how in (
            ("counter on ticks", {}, {}),
            ("counter on ticks, no looks inside", {}, {"watch_s": None}),
            ("power integral", {"counter": False}, {}),
        ):
            gpu = FakeGpu(SystemClock(), FakeGpuSettings(tick_s=tick_s, **settings))
            meter = NvmlMeter(nvml=FakeNvml(gpu), environ={}, least_window_s=0.0, **how)  # type: ignore[arg-type]
            cpu, wall = [], []
            for _ in range(windows):
                began, spent = time.perf_counter(), time.process_time()
                with meter.window():
                    time.sleep(seconds)
                cpu.append(time.process_time() - spent)
                wall.append(time.perf_counter() - began - seconds)
            spent = time.process_time()
            time.sleep(seconds)
            bare = time.process_time() - spent
            extra = 1e6 * (statistics.median(cpu) - bare)
            rows.append(
                {
                    "method": label,
                    "tick_s": tick_s,
                    "cpu_us": extra,
                    "wall_s": statistics.median(wall),
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--repeats", type=int, default=60, help="windows per method, length and tick"
    )
    parser.add_argument(
        "--overhead-seconds", type=float, default=1.0, help="0 leaves the overhead out"
    )
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    tables = {
        "all ticks": accuracy(arguments.repeats, TICKS_S, 1.0),
        "25 % duty": accuracy(3 * arguments.repeats, (0.1,), 0.25),
    }
    print(
        f"Windows shorter than {LEAST_WINDOW_S} s are refused unless the caller allows them; here all are allowed."
    )
    show(
        "A sensor that looks all the time; counter ticks of 20, 50 and 100 ms", tables["all ticks"]
    )
    show(
        "A sensor that looks at 25 ms of every 100 ms; counter ticks of 100 ms", tables["25 % duty"]
    )
    print("\nCounter on ticks, by tick: P95 of the error / stated, %")
    for tick_s in TICKS_S:
        rows = accuracy(arguments.repeats, (tick_s,), 1.0, ("counter on ticks (ours)",))
        cells = [
            f"{row['window_s']} s: {row['p95_error']:.1f} / {row['stated']:.1f}" for row in rows
        ]
        print(f"  tick {1e3 * tick_s:3.0f} ms   " + "   ".join(cells))
    costs = overhead(arguments.overhead_seconds) if arguments.overhead_seconds else []
    if costs:
        print("\nOverhead per window (CPU of this process, and time added to the run)")
    for row in costs:
        cost = f"{row['cpu_us']:>9.0f} µs CPU{1e3 * float(row['wall_s']):>8.1f} ms added"  # type: ignore[arg-type]
        print(f"  {row['method']:36}tick {1e3 * float(row['tick_s']):4.0f} ms{cost}")  # type: ignore[arg-type]
    if arguments.json:
        arguments.json.write_text(json.dumps(as_rows(tables, costs), indent=1) + "\n")


def as_rows(
    tables: dict[str, list[dict[str, object]]], costs: list[dict[str, object]]
) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    base = {"benchmark": "meters", "device": "fake", "level": "window"}
    for table, found in tables.items():
        for row in found:
            for metric in ("bias", "mean_error", "p95_error", "stated", "covered"):
                if metric in row:
                    what = {
                        "table": table,
                        "method": row["method"],
                        "setting": f"window {row['window_s']} s",
                    }
                    told = {
                        "quantity": "energy",
                        "metric": metric,
                        "value": row[metric],
                        "n": row["n"],
                    }
                    rows.append({**base, **what, **told})
    for row in costs:
        what = {"table": "overhead", "method": row["method"], "setting": f"tick {row['tick_s']} s"}
        rows.append(
            {
                **base,
                **what,
                "quantity": "cpu",
                "metric": "us_per_window",
                "value": row["cpu_us"],
                "n": 5,
            }
        )
    return rows


if __name__ == "__main__":
    main()

"""A calibration that is killed again and again: is any visit lost or made twice, and is the profile the same?

    python benchmarks/resume.py [--kills 10] [--runs 3] [--points 160] [--json FILE]

Each run is a real process that calibrates a replayed machine; it is killed (SIGKILL) at random moments and started
again until it has been killed that often and is done. After every third kill the log's last line is cut off at a
random byte, as a power cut would. The profile must be that of a run that nobody interrupted.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from energy_opt.calibrate.backend import Timing, Unrunnable
from energy_opt.calibrate.primitives import Primitive, TensorSpec
from energy_opt.calibrate.replay import ReplayBackend
from energy_opt.calibrate.run import calibrate_device, log_path
from energy_opt.calibrate.schedule import Point
from energy_opt.estimators.runtime import HostCost

PACE_S = 0.005
"""Real seconds per visit, so that there are moments to be killed at."""


def points(count: int) -> list[Point]:
    """Products, activations, sums and softmaxes of random sizes, and one that cannot be run."""
    rng = np.random.default_rng(1)
    made = []
    for number in range(count):
        m, n, k = (int(2 ** rng.uniform(4, 11)) for _ in range(3))
        x, y = TensorSpec((m, k)), TensorSpec((m, n))
        weight = TensorSpec((n, k), role="weight")
        op, inputs, output = [
            ("aten::linear", (x, weight), y),
            ("aten::gelu", (x,), x),
            ("aten::add", (x, x), x),
            ("aten::softmax", (x,), x),
        ][number % 4]
        attributes = (("dim", -1),) if op == "aten::softmax" else ()
        made.append(Point(Primitive(op, "", attributes, inputs, (output,))))
    return made


def machine(known: list[Point], pace_s: float) -> ReplayBackend:
    """A machine with a roofline, noise that depends on the visit alone, and slow drift."""
    work = {point.key: point.primitive.work for point in known}

    def answer(key: str, number: int) -> Timing:
        if key == known[-1].key:
            raise Unrunnable("the machine does not have this operator")
        rng = np.random.default_rng([zlib.crc32(key.encode()), number])
        w = work[key]
        seconds = 3e-6 + max(w.matmul_flops / 5e10, w.bytes / 2e10)
        return Timing(seconds * float(np.exp(rng.normal(0.0, 0.03))), repeats=3, spread=0.03)

    host = HostCost(launch_s=2e-6, view_s=1e-6, overlaps=False)
    return ReplayBackend(answer, {"device": "replayed", "kind": "cpu"}, host, passes=3, pace_s=pace_s)  # fmt: skip


def child(output: Path, count: int, pace_s: float = PACE_S) -> None:
    known = points(count)
    backend = machine(known, pace_s)
    calibrate_device("replay", output=output, backend=backend, points=known, anchors=known[:2])


def _start(output: Path, count: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, __file__, "--child", str(output), "--points", str(count)]
    )


def _kill(process: subprocess.Popen[bytes], log: Path, rng: random.Random) -> bool:
    """Kill it at a random moment after it has written something; False where it was done before that."""
    size = log.stat().st_size if log.exists() else 0
    while process.poll() is None and (log.stat().st_size if log.exists() else 0) == size:
        time.sleep(0.002)
    time.sleep(rng.uniform(0.0, 0.15))
    done = process.poll() is not None
    process.send_signal(signal.SIGKILL)
    process.wait()
    return not done


def _cut(log: Path, rng: random.Random) -> None:
    """Cut the last line off at a random byte."""
    data = log.read_bytes()
    last = data.rstrip(b"\n").rfind(b"\n") + 1
    log.write_bytes(data[: rng.randrange(last, len(data) - 1)])


def killed(folder: Path, count: int, kills: int, seed: int) -> dict[str, Any]:
    """One calibration, killed that often and then left to end: what its log and its profile came to."""
    rng = random.Random(seed)
    output = folder / f"killed-{seed}.json"
    log = log_path(output)
    made = cuts = 0
    while made < kills:
        if not _kill(_start(output, count), log, rng):
            break
        made += 1
        if made % 3 == 0:
            _cut(log, rng)
            cuts += 1
    if _start(output, count).wait():
        raise SystemExit("the resumed calibration failed")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    visits = Counter(line["visit"] for line in lines if "visit" in line)
    return {
        "kills": made,
        "cut": cuts,
        "visits": lines[0]["visits"],
        "lost": lines[0]["visits"] - len(visits),
        "twice": sum(number - 1 for number in visits.values()),
        "profile": _profile(output),
    }


def _profile(path: Path) -> dict[str, Any]:
    """A profile without the date and the name of the log."""
    data: dict[str, Any] = json.loads(path.read_text())
    for name in ("date", "samples"):
        data["calibration"].pop(name)
    return data


def _difference(one: Any, other: Any, at: str = "") -> str:
    """Where two profiles differ first; empty where they do not."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        found = (_difference(one[name], other[name], f"{at}.{name}") for name in one)
        return next(filter(None, found), "")
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return next(filter(None, (_difference(a, b, f"{at}[{i}]") for i, (a, b) in pairs)), "")
    return "" if one == other else f"{at}: {one!r:.60}, not {other!r:.60}"


def compare(folder: Path, count: int, kills: int, runs: int) -> list[dict[str, Any]]:
    """An uninterrupted run, and runs that were killed."""
    whole = folder / "whole.json"
    child(whole, count, pace_s=0.0)
    reference = _profile(whole)
    results = []
    for seed in range(runs):
        result = killed(folder, count, kills, seed)
        apart = _difference(result.pop("profile"), reference)
        if apart:
            print(f"run {seed}: the profiles differ at {apart}", file=sys.stderr)
        result["same"] = not apart
        results.append({"run": seed, **result})
    return results


def rows_of(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    total: Callable[[str], int] = lambda name: sum(int(result[name]) for result in results)  # noqa: E731
    values = {
        "visits_lost": total("lost"),
        "visits_twice": total("twice"),
        "profiles_that_differ": len(results) - total("same"),
    }
    common = {"benchmark": "resume", "table": "replay", "device": "replayed", "method": "ours"}
    common |= {"setting": "killed/resumed", "level": "run", "metric": "count"}
    return [
        {**common, "quantity": quantity, "value": value, "n": total("kills")}
        for quantity, value in values.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--points", type=int, default=160)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child is not None:
        child(args.child, args.points)
        return
    with tempfile.TemporaryDirectory() as folder:
        results = compare(Path(folder), args.points, args.kills, args.runs)
    print("run  kills  lines cut  visits  lost  twice  same profile")
    for r in results:
        print(
            f"{r['run']:3}  {r['kills']:5}  {r['cut']:9}  {r['visits']:6}  {r['lost']:4}  {r['twice']:5}  "
            f"{'yes' if r['same'] else 'NO'}"
        )
    if args.json is not None:
        args.json.write_text(json.dumps(rows_of(results), indent=1) + "\n")
    if any(r["lost"] or r["twice"] or not r["same"] for r in results):
        sys.exit(1)


if __name__ == "__main__":
    main()

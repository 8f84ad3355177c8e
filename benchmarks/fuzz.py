"""Thousands of broken models, each read in a process that may crash: what is neither answer nor clear error?

    python benchmarks/fuzz.py --count 3000 --seed 0          # the whole way: load, price, JSON
    python benchmarks/fuzz.py --target read                   # only the file layer
    python benchmarks/fuzz.py --seconds 3600 --save found/    # keep the smallest file of each failure
    python benchmarks/fuzz.py --only 4711 --save found/       # one seed again, with its traceback

A seed makes a mutant from the small models that the onnx package carries and from examples/ (`mutant` in
tests/frontend/mutations.py). An outcome is `answer`, `refused` (an EnergyOptError), or a failure: `vague` (refused,
but only by the last resort that turns any exception into a message), `traceback`, `warning`, `noise` (it logs),
`untidy` (a message of several lines or with control characters), `nonsense` (an answer that is negative or not
finite), `hang` (over 5 s), `memory` (over 1 GB) or `crash`.
Exit status 1 if any failed.
"""

from __future__ import annotations

import argparse
import collections
import faulthandler
import json
import logging
import math
import multiprocessing
import re
import resource
import sys
import tempfile
import time
import traceback
import warnings
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

MOST_SECONDS = 5.0
MOST_BYTES = 2**30
ADDRESS_SPACE = 6 * 2**30  # past this, the machine is safe: the process gets a MemoryError
FAILURES = (
    "vague",
    "traceback",
    "warning",
    "noise",
    "untidy",
    "nonsense",
    "hang",
    "memory",
    "crash",
)
LAST_RESORT = "cannot be understood"


class Outcome(NamedTuple):
    """What became of a mutant: its kind, a text that failures of one cause share, and the details."""

    kind: str
    cause: str
    details: str = ""


# -- what runs in the child ----------------------------------------------------------------------


def run_read(path: Path) -> None:
    from energy_opt.frontend import wire

    wire.read_model(path)


def run_strip(path: Path) -> None:
    from energy_opt.frontend.strip import strip

    strip(path, path.with_suffix(".stripped"))
    run_read(path.with_suffix(".stripped"))


def run_load(path: Path) -> None:
    import energy_opt

    energy_opt.load(str(path))


def run_workload(path: Path) -> None:
    import energy_opt

    energy_opt.workload(energy_opt.load(str(path)))


def run_analyze(path: Path) -> None:
    import energy_opt

    answer = energy_opt.analyze(energy_opt.load(str(path)), device="t4").to_dict()
    json.dumps(answer, allow_nan=False)
    for name, value in answer["totals"].items():
        for number in value if isinstance(value, list | tuple) else [value]:
            if isinstance(number, int | float) and not 0 <= number < math.inf:
                raise ArithmeticError(f"totals.{name} = {number}")


TARGETS = {
    "read": run_read,
    "strip": run_strip,
    "load": run_load,
    "workload": run_workload,
    "analyze": run_analyze,
}


def judge(target: str, path: Path) -> Outcome:
    """Run one file through a target; what it logs goes to a user's terminal unescaped, so it is a failure."""
    noise = Noise()
    logging.getLogger().addHandler(noise)
    try:
        outcome = _judge(target, path)
    finally:
        logging.getLogger().removeHandler(noise)
    if noise.records and outcome.kind not in FAILURES:
        first = noise.records[0]
        return Outcome("noise", f"{first.name}: {str(first.msg)[:60]}", first.getMessage())
    return outcome


class Noise(logging.Handler):
    """Keeps the warnings that were logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def _judge(target: str, path: Path) -> Outcome:
    from energy_opt.errors import EnergyOptError

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            TARGETS[target](path)
        except EnergyOptError as error:
            if LAST_RESORT in str(error):
                return Outcome("vague", _cause(error.__cause__ or error), _trace(error))
            if not str(error).isprintable():
                return Outcome("untidy", _cause(error), str(error))
            return Outcome(
                "refused", re.sub(r"[\d,]+", "#", str(error).replace(str(path), ""))[:100]
            )
        except ArithmeticError as error:
            kind = "nonsense" if str(error).startswith("totals.") else "traceback"
            return Outcome(kind, _cause(error), _trace(error))
        except RecursionError as error:
            return Outcome("traceback", "RecursionError", _trace(error)[:2000])
        except Exception as error:  # noqa: BLE001
            return Outcome("traceback", _cause(error), _trace(error))
    if caught:
        first = caught[0]
        where = f"{Path(first.filename).name}:{first.lineno}"
        return Outcome("warning", f"{first.category.__name__} {where}", str(first.message))
    return Outcome("answer", "")


def _cause(error: BaseException) -> str:
    """The exception and the innermost lines of ours that it passed, equal for equal causes."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if "/energy_opt/" in f.filename]
    where = " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in reversed(ours[-2:]))
    while error.__cause__ is not None:
        error = error.__cause__
    text = re.sub(r"[\d.]+|'.*?'", "#", str(error).replace("\n", " "))[:70]
    return f"{type(error).__name__} at {where}: {text}"


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))[-6000:]


def child(pipe: Connection, target: str, folder: Path, corpus: list[bytes]) -> None:
    """Answer seeds with outcomes until the pipe closes."""
    from tests.frontend.mutations import mutant

    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    path = folder / "model.onnx"
    stacks = (folder / "stack.txt").open("w+")
    while (seed := pipe.recv()) is not None:
        path.write_bytes(mutant(seed, corpus))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.perf_counter()
        pipe.send("started")
        stacks.truncate(0)
        faulthandler.dump_traceback_later(0.9 * MOST_SECONDS, file=stacks)
        outcome = judge(target, path)
        faulthandler.cancel_dump_traceback_later()
        spent = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if peak * 1024 > MOST_BYTES and peak > before:
            outcome = Outcome("memory", f"after {outcome.kind} {outcome.cause}", outcome.details)
        pipe.send((outcome, spent, peak))


# -- the pool ------------------------------------------------------------------------------------


class Worker:
    """A child process that is replaced when it hangs, crashes or grows."""

    def __init__(self, target: str, corpus: list[bytes]) -> None:
        self.target, self.corpus = target, corpus
        self.folder = tempfile.TemporaryDirectory()
        self.seed: int | None = None
        self.started = 0.0
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("fork")
        self.pipe, other = context.Pipe()
        arguments = (other, self.target, Path(self.folder.name), self.corpus)
        self.process = context.Process(target=child, args=arguments, daemon=True)
        self.process.start()
        other.close()

    def give(self, seed: int) -> None:
        self.seed, self.started = seed, math.inf
        self.pipe.send(seed)

    def take(self) -> tuple[Outcome, float] | None:
        """The outcome of the seed, if it is known by now."""
        try:
            while self.pipe.poll():
                message = self.pipe.recv()
                if message == "started":  # making the mutant is not what is timed
                    self.started = time.perf_counter()
                    continue
                outcome, spent, peak = message
                if peak * 1024 > MOST_BYTES:
                    self._replace()
                return outcome, spent
        except (EOFError, OSError):
            self.process.join()
            code = self.process.exitcode
            self._replace()
            return Outcome("crash", f"exit status {code}"), 0.0
        if time.perf_counter() - self.started > MOST_SECONDS:
            stack = (Path(self.folder.name) / "stack.txt").read_text().replace("\0", "")
            ours = re.findall(r'/energy_opt/\S*?(\w+\.py)", line (\d+)', stack)
            self._replace()
            where = " < ".join(":".join(frame) for frame in ours[:3])
            return Outcome("hang", f"over {MOST_SECONDS:g} s in {where}", stack), MOST_SECONDS
        return None

    def close(self) -> None:
        self.process.kill()
        self.process.join()
        self.folder.cleanup()

    def _replace(self) -> None:
        self.process.kill()
        self.process.join()
        self._start()


class Found(NamedTuple):
    """A failure's smallest example."""

    seed: int
    size: int
    details: str


def fuzz(options: argparse.Namespace) -> dict[tuple[str, str], list[Found]]:
    """Run seeds until the count or the time is used up; failures by kind and cause."""
    from tests.frontend.mutations import corpus, mutant

    models = corpus(ROOT / "examples" if options.examples else None)
    kinds: collections.Counter[str] = collections.Counter()
    refusals: collections.Counter[str] = collections.Counter()
    found: dict[tuple[str, str], list[Found]] = {}
    slowest = (0.0, 0)
    workers = [Worker(options.target, models) for _ in range(options.jobs)]
    end = time.perf_counter() + options.seconds
    seeds = iter(
        [options.only]
        if options.only is not None
        else range(options.seed, options.seed + options.count)
    )
    busy: list[Worker] = []
    idle = list(workers)
    while True:
        while idle and time.perf_counter() < end and (seed := next(seeds, None)) is not None:
            worker = idle.pop()
            worker.give(seed)
            busy.append(worker)
        if not busy:
            break
        wait([worker.pipe for worker in busy], timeout=0.2)
        for worker in list(busy):
            taken = worker.take()
            if taken is None or worker.seed is None:
                continue
            outcome, spent = taken
            kinds[outcome.kind] += 1
            slowest = max(slowest, (spent, worker.seed))
            if outcome.kind == "refused":
                refusals[outcome.cause] += 1
            elif outcome.kind in FAILURES:
                size = len(mutant(worker.seed, models))
                found.setdefault((outcome.kind, outcome.cause), []).append(
                    Found(worker.seed, size, outcome.details)
                )
            busy.remove(worker)
            idle.append(worker)
    for worker in workers:
        worker.close()
    report(options, kinds, refusals, found, slowest)
    if options.save:
        save(options.save, found, models)
    return found


def report(
    options: argparse.Namespace, kinds: Any, refusals: Any, found: Any, slowest: Any
) -> None:
    """Print what happened, failures by frequency."""
    print(f"{options.target}: {sum(kinds.values())} mutants from seed {options.seed}")
    for kind, count in kinds.most_common():
        print(f"  {count:7d} {kind}")
    print(f"  slowest answer {slowest[0]:.2f} s (seed {slowest[1]})")
    if options.verbose:
        for text, count in refusals.most_common(40):
            print(f"  {count:7d} refused: {text}")
    for (kind, cause), examples in sorted(found.items(), key=lambda item: -len(item[1])):
        smallest = min(examples, key=lambda example: example.size)
        seeds = ", ".join(str(e.seed) for e in examples[:4])
        print(
            f"  {len(examples):7d} {kind}: {cause}\n          seeds {seeds}; smallest {smallest.seed}"
        )
        if options.only is not None:
            print(smallest.details)


def save(folder: Path, found: Any, models: list[bytes]) -> None:
    """Write the smallest file of each failure, and what it caused."""
    from tests.frontend.mutations import mutant

    folder.mkdir(parents=True, exist_ok=True)
    for (kind, cause), examples in found.items():
        smallest = min(examples, key=lambda example: example.size)
        stem = folder / f"{kind}-{smallest.seed}"
        stem.with_suffix(".onnx").write_bytes(mutant(smallest.seed, models))
        stem.with_suffix(".txt").write_text(
            f"{cause}\n{len(examples)} times\n\n{smallest.details}\n"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--target", choices=TARGETS, default="analyze")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--seconds", type=float, default=math.inf)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", type=int, help="this seed alone")
    parser.add_argument("--save", type=Path, help="folder for the smallest file of each failure")
    parser.add_argument("--examples", action="store_true", help="mutate examples/ too: slower")
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="say what was refused, and why"
    )
    return 1 if fuzz(parser.parse_args()) else 0


if __name__ == "__main__":
    sys.exit(main())

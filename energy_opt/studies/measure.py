"""measure: what one inference takes in time and energy on this machine, beside the prediction."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from time import sleep
from typing import Any

from energy_opt.errors import DeviceError, ModelError, UsageError
from energy_opt.estimators.device import Device
from energy_opt.estimators.estimate import Estimate
from energy_opt.measure.runners import Runner
from energy_opt.measure.runners import target as targets
from energy_opt.measure.runners.target import Target
from energy_opt.measure.steady import Interrupted, Steady, measure
from energy_opt.studies import choices, metering, runnable
from energy_opt.studies.analyze import analyze
from energy_opt.studies.detect import profile_of
from energy_opt.studies.measurement import Measurement, module_rows
from energy_opt.studies.runnable import Runnable

__all__ = ["measure_model"]

_RUNTIMES = {"eager": "a PyTorch module", "onnxruntime": "an .onnx file"}
_REPLAY_S = 0.3
_NODE_RUNS = 20
Tell = Callable[[str], None]


def measure_model(
    model: Any,
    inputs: Any = None,
    *,
    target: str = "cpu",
    device: str | Device | None = None,
    runtime: str | None = None,
    meter: Any = "auto",
    trials: int = 1,
    seconds: float = 3.0,
    cooldown_s: float | None = None,
    compare: bool = True,
    modules: bool = False,
    depth: int | None = None,
    dynamic: Any = None,
    settings: Mapping[str, Any] | None = None,
    arrays: Mapping[str, Any] | str | os.PathLike[str] | None = None,
    dims: Mapping[str, Any] | None = None,
    tell: Tell | None = None,
    **sizes: Any,
) -> Measurement:
    """Seconds and joules of one inference, measured in steady state on `target` (`cpu`, `cuda:0`), beside a prediction.

    `model` is what `load` takes, but for a Graph: a module with `inputs` is run by PyTorch, eagerly and as it is; a
    config's with random weights; an .onnx file by ONNX Runtime, with random weights where it lacks them. Inputs are
    random unless they are given, in `inputs` or as `arrays` by name (or the path of an .npz file of them).

    `meter` is `auto`, `none`, a name or several with commas between, or a meter. `trials` are repeated after
    `cooldown_s`. `modules` also times each module, down to `depth`. The prediction is for `device`, the profile that
    fits the target where none is named. `tell` hears what is being done. Ctrl-C leaves what was measured, which
    `interrupted` says; before anything was, it goes on as it came.

    Raises:
        ModelError: the model cannot be read, does not fit, or fails.
        UsageError: the target is not there, or an argument cannot be meant; DimError, DeviceError among them.
        MeterError: a meter that was named is not available.
    """
    _check(trials, seconds, depth)
    where = targets.find(target)
    say = tell or _nobody
    say("reading the model")
    found = runnable.prepare(model, inputs, dynamic, settings)
    _check_runtime(found, runtime)
    given = {**choices.sizes(dims), **sizes}
    bound = runnable.sizes(found, given)
    notes: list[str] = []
    profile = _profile(where, device, notes)
    estimate = _estimate(found, profile, given, notes) if compare else None
    _check_fit(found, where, estimate)
    values = runnable.read_arrays(arrays) if isinstance(arrays, (str, os.PathLike)) else arrays
    with (
        metering.open_meters(meter, where, profile, notes) as chosen,
        runnable.running(found),
        _making(found, where, bound, values, say) as runner,
    ):
        result = Measurement(
            model={"source": found.source, "runtime": runner.name},
            target={**_facts(where), **runner.facts()},
            runtime=runner.name,
            dims=bound,
            estimate=estimate,
            meter=metering.facts(chosen),
            notes=[*found.notes, *runner.notes, *notes, *_busy(where)],
            seconds=seconds,
            cooldown_s=_cooldown(cooldown_s, where) if trials > 1 else 0.0,
        )
        job = _Job(found, runner, chosen, result, say)
        try:
            job.trials(trials)
            if modules:
                job.modules(depth)
        except KeyboardInterrupt as stop:
            if isinstance(stop, Interrupted):
                result.trials.append(stop.steady)
            if not result.trials:
                raise
            result.interrupted = f"stopped while {job.doing}"
    return result


@dataclass
class _Job:
    """The running part: it fills the result in step by step, so that what was measured is there if it is stopped."""

    found: Runnable
    runner: Runner
    meter: Any
    result: Measurement
    say: Tell
    doing: str = ""

    def step(self, doing: str) -> None:
        self.doing = doing
        self.say(doing)

    def trials(self, count: int) -> None:
        result = self.result
        for index in range(count):
            if index:
                self.step(f"cooling down before trial {index + 1} of {count}")
                sleep(result.cooldown_s)
            self.step(f"measuring, trial {index + 1} of {count}")
            trial = measure(self.runner, self.meter, result.seconds)
            result.trials.append(trial)
            self._note(trial, index)
            result.meters = metering.rows(trial)
            result.meter = metering.facts(self.meter, trial)

    def _note(self, trial: Steady, index: int) -> None:
        notes = list(trial.notes)
        if not trial.warmup.settled:
            notes.append(
                f"trial {index + 1}: the time still drifted when the warm-up ended; measure for longer"
            )
        throttled = getattr(trial.window, "throttled", None)
        if throttled:
            notes.append(f"trial {index + 1}: the device was throttled ({', '.join(throttled)})")
        self.result.notes += [note for note in notes if note not in self.result.notes]

    def modules(self, depth: int | None) -> None:
        if self.found.path is not None:
            self._nodes(depth)
            return
        from energy_opt.measure.modules import ModuleCost, in_place, replay

        runner: Any = self.runner
        self.step("timing modules in place")
        timed = in_place(runner, depth)
        types = {path: type(m).__name__ for path, m in runner.module.named_modules()}
        costs: list[ModuleCost] = []
        rows = functools.partial(module_rows, self.result.estimate, timed, costs, types)
        self.result.modules = rows()
        self.step("replaying modules")
        for cost in replay(runner, self.meter, min(_REPLAY_S, self.result.seconds), depth):
            costs.append(cost)
            self.result.modules = rows()
            self.step(f"replaying modules: {len(costs)} of {len(timed)}")

    def _nodes(self, depth: int | None) -> None:
        """Modules of an .onnx file: ONNX Runtime's own profile, its nodes by the scopes of the optimised graph."""
        from energy_opt.studies import nodes

        self.step("profiling nodes")
        runner: Any = self.runner
        times, optimised = runner.nodes(_NODE_RUNS)
        timed, unmapped_s = nodes.by_module(times, optimised, self.found.graph, depth)
        self.result.modules = module_rows(
            self.result.estimate, timed, (), nodes.types(self.found.graph)
        )
        if unmapped_s:
            total = sum(time.latency_s for time in times)
            self.result.notes.append(
                f"{unmapped_s / total:.1%} of the nodes' time is in nodes that ONNX Runtime made and no module owns"
            )
        self.result.notes.append(
            "modules of an .onnx file are timed by ONNX Runtime's profile, which slows small nodes; energy by module "
            "is not measured"
        )


def _check(trials: int, seconds: float, depth: int | None) -> None:
    if not 1 <= trials <= 1000:
        raise UsageError(f"trials is {trials!r}; give a number from 1 to 1000")
    if not 0.01 <= seconds <= 3600:
        raise UsageError(f"seconds is {seconds!r}; give 0.01 to 3600 seconds for each trial")
    if depth is not None and depth < 0:
        raise UsageError(f"depth is {depth!r}; give 0 for the model alone, or more levels")


def _check_runtime(found: Runnable, runtime: str | None) -> None:
    if runtime is None or runtime == found.runtime:
        return
    executor = choices.runtime(runtime)
    name = runtime if executor is None else executor.name
    raise UsageError(
        f"{found.source} is {_RUNTIMES[found.runtime]} and is measured under {found.runtime}, not under {name}"
        + (
            "; export it with torch.onnx.export and measure the file"
            if name == "onnxruntime"
            else ""
        )
    )


def _profile(where: Target, device: str | Device | None, notes: list[str]) -> Device | None:
    if device is not None:
        chosen = choices.device(device)
        if chosen.kind != where.kind:
            notes.append(
                f"predicted for another device than the one that ran it: {chosen.label} is a {chosen.kind.upper()}, "
                f"{where.name} is a {where.kind.upper()}; their difference is no error of the prediction"
            )
        return chosen
    try:
        profile, said = profile_of(where)
    except DeviceError as error:
        notes.append(f"no prediction: {error}")
        return None
    if said:
        notes.append(said)
    return profile


def _estimate(
    found: Runnable, profile: Device | None, given: Mapping[str, Any], notes: list[str]
) -> Estimate | None:
    if found.graph is None:
        notes.append(f"no prediction: {found.unfollowed}")
        return None
    if profile is None:
        return None
    return analyze(found.graph, device=profile, runtime=found.runtime, dims=given)


def _check_fit(found: Runnable, where: Target, estimate: Estimate | None) -> None:
    """Refuse what cannot fit, before memory is filled with it."""
    if estimate is None or where.free_bytes is None:
        return
    needed = estimate.weight_bytes + float(estimate.peak_activation_bytes)
    if needed > where.free_bytes:
        raise ModelError(
            f"{found.source}: does not fit on {where.name}: weights and activations are {needed / 1e9:.1f} GB, and "
            f"{where.free_bytes / 1e9:.1f} GB are free; make it smaller (--dim batch=1, --set), or use another target"
        )


@contextlib.contextmanager
def _making(
    found: Runnable, where: Target, bound: Mapping[str, Any], values: Any, say: Tell
) -> Iterator[Runner]:
    """The runner; closed afterwards, and the module as it was, whatever happens."""
    say("making the model")
    runner = runnable.make(found, where, bound, values)
    try:
        yield runner
    finally:
        runner.close()


def _busy(where: Target) -> list[str]:
    """A note where others use the processors, too."""
    others = where.running_others() if where.kind == "cpu" else 0
    if not others:
        return []
    what = "another thread was" if others == 1 else f"{others} other threads were"
    return [
        f"{what} running when measuring began: times, and what a meter of the whole host saw, hold some of them"
    ]


def _facts(where: Target) -> dict[str, Any]:
    found: dict[str, Any] = {"name": where.name, "kind": where.kind, "label": where.label}
    if where.processors:
        found["processors"] = where.processors
    return found


def _cooldown(given: float | None, where: Target) -> float:
    if given is not None:
        if not 0 <= given <= 3600:
            raise UsageError(f"cooldown_s is {given!r}; give 0 to 3600 seconds")
        return float(given)
    return 10.0 if where.kind == "gpu" else 1.0


def _nobody(_: str) -> None:
    pass

"""watch: the energy of a model as a script really calls it, from the shapes of its calls."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from energy_opt.errors import UsageError
from energy_opt.estimators.device import Device
from energy_opt.estimators.estimate import Estimate
from energy_opt.estimators.runtime import Runtime
from energy_opt.frontend.huggingface import require
from energy_opt.studies import DEFAULT_DEVICE, choices
from energy_opt.studies.analyze import analyze

__all__ = ["Watch", "Watched", "watch"]

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


@dataclass(eq=False)
class Watched:
    """Calls of one model with inputs of one shape: how many there were, and what one of them costs."""

    shapes: Any
    model: str
    calls: int = 0
    price: Callable[[], Estimate] = field(default=lambda: _nothing(), repr=False)

    @cached_property
    def estimate(self) -> Estimate:
        """Seconds and joules of one such call, worked out when it is first asked for.

        Raises:
            ModelError: the module cannot be followed, or was called with what a watch does not keep.
            UsageError: the model is gone.
        """
        return self.price()

    @property
    def energy_j(self) -> float:
        """Joules of all these calls."""
        return self.calls * float(self.estimate.energy_j)

    @property
    def latency_s(self) -> float:
        """Seconds of all these calls."""
        return self.calls * float(self.estimate.latency_s)

    def __repr__(self) -> str:
        return f"<{self.model}({self.shapes}), {self.calls} call{'s' * (self.calls != 1)}>"


def watch(
    model: Any = None,
    *,
    device: str | Device = DEFAULT_DEVICE,
    runtime: str | Runtime | None = None,
    precision: str = "as-is",
) -> Watch:
    """Watch a PyTorch model while a script runs it: its calls are counted by the shapes of their inputs, and priced.

    As a context: `with eo.watch(model, device="t4") as w: train(model)`, then `w.estimate` (one call like the first)
    and `w.energy_j` (all of them). As a decorator of a function it watches `model`, or else the modules among the
    function's arguments; as a decorator of a module class, every instance of it. The calls run as they would have: only
    shapes are looked at, and prices are worked out when they are asked for. What is priced is the forward in evaluation
    mode, in the module's own types (or `precision`, for one under autocast), on `device`, wherever it really ran.

    Raises:
        DeviceError, UsageError: the device is not known, or `model` is not a module.
    """
    return Watch(model, device, runtime, precision)


class Watch:
    """What a watched script called, and what that costs. See `watch`."""

    def __init__(
        self, model: Any, device: str | Device, runtime: str | Runtime | None, precision: str
    ) -> None:
        self.device, self.runtime = choices.device(device), choices.runtime(runtime)
        self.precision, self.model = choices.precision(precision), model
        if model is not None and not (hasattr(model, "forward") and not isinstance(model, type)):
            raise UsageError(
                f"watch takes a torch.nn.Module, not a {type(model).__name__}; "
                "give device and the rest by name: watch(model, device='t4')"
            )
        if model is None:
            require("torch")  # a decorator has nothing to listen to without it
        self._seen: dict[tuple[Any, Any], Watched] = {}
        self._ends: list[list[Callable[[], None]]] = []
        self._pricing = False

    # -- what was seen -----------------------------------------------------------------------------------------------

    @property
    def calls(self) -> int:
        """How many calls were seen."""
        return sum(watched.calls for watched in self._seen.values())

    @property
    def estimates(self) -> list[Watched]:
        """The calls by model and shape of inputs, in the order in which they first came."""
        return list(self._seen.values())

    @property
    def estimate(self) -> Estimate:
        """Seconds and joules of one call like the first that was seen.

        Raises:
            UsageError: no call was seen.
        """
        if not self._seen:
            raise UsageError(
                "the watched model was not called: call the model itself, not its forward method, inside the "
                "`with` block or the decorated function; of a compiled model, watch what torch.compile returned"
            )
        return self.estimates[0].estimate

    @property
    def energy_j(self) -> float:
        """Joules of all calls."""
        return sum(watched.energy_j for watched in self._seen.values())

    @property
    def latency_s(self) -> float:
        """Seconds of all calls."""
        return sum(watched.latency_s for watched in self._seen.values())

    def __repr__(self) -> str:
        calls, kinds = self.calls, len(self._seen)
        said = f"{calls} call{'s' * (calls != 1)} of {kinds} kind{'s' * (kinds != 1)}"
        return f"<Watch on {self.device.name}: {said}>"

    # -- watching ----------------------------------------------------------------------------------------------------

    def __enter__(self) -> Watch:
        if self.model is None:
            raise UsageError("as a context, watch needs the model: with eo.watch(model) as w: ...")
        self._begin([self.model])
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def __call__(self, target: Decorated) -> Decorated:
        """Decorate a function, or a class of modules; what is seen is under its attribute `watch`."""
        from energy_opt.frontend.pytorch import calls

        if isinstance(target, type):
            if not calls.is_module(target):
                raise UsageError(f"{target.__name__} is no class of torch modules")
            self._ends.append([calls.listen_to_class(target, self._tell)])
            decorated: Any = target
        else:
            decorated = self._function(target)
        decorated.watch = self
        result: Decorated = decorated
        return result

    def stop(self) -> None:
        """Stop watching, where no context does: a decorated class is as it was before."""
        while self._ends:
            self._end()

    def _function(self, function: Callable[..., Any]) -> Callable[..., Any]:
        from energy_opt.frontend.pytorch import calls

        @functools.wraps(function)
        def watched(*args: Any, **kwargs: Any) -> Any:
            mine = [self.model] if self.model is not None else None
            self._begin(mine or list(calls.modules_in(*args, *kwargs.values())))
            try:
                return function(*args, **kwargs)
            finally:
                self._end()

        return watched

    def _begin(self, models: list[Any]) -> None:
        from energy_opt.frontend.pytorch import calls

        self._ends.append([calls.listen(model, self._tell) for model in models])

    def _end(self) -> None:
        for end in self._ends.pop():
            end()

    def _tell(self, module: Any, shapes: Any) -> None:
        if self._pricing:
            return  # that is us, following the module
        reference = weakref.ref(
            module
        )  # a model that nobody else holds any more must be free to go
        key = (reference, shapes)
        if key not in self._seen:
            name = type(module).__name__
            price = functools.partial(self._price, reference, name, shapes)
            self._seen[key] = Watched(shapes, name, 0, price)
        self._seen[key].calls += 1

    def _price(self, module: Callable[[], Any], name: str, shapes: Any) -> Estimate:
        from energy_opt.frontend.pytorch import calls

        model = module()
        if model is None:
            raise UsageError(
                f"the {name} that was called is gone; ask for its estimate while it lives"
            )
        model = calls.unwrapped(model)
        self._pricing = True
        try:
            return analyze(
                model, shapes.inputs(model), device=self.device, dynamic=False, runtime=self.runtime,
                precision=self.precision,
            )  # fmt: skip
        finally:
            self._pricing = False


def _nothing() -> Estimate:
    raise UsageError("nothing was seen")

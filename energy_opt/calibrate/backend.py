"""What calibration asks of the machine that it times: prepare a primitive, time it, say what the machine is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from energy_opt.errors import CalibrationError
from energy_opt.estimators.runtime import HostCost

if TYPE_CHECKING:
    from energy_opt.calibrate.primitives import Primitive

Data = Literal["normal", "zeros"]
Attention = Literal["", "flash", "efficient", "cudnn", "math"]


class Unrunnable(CalibrationError):
    """A primitive that this backend cannot run, with the reason; calibration names it and goes on."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How a primitive is run beyond what its operands say.

    `math` is `tf32` where float32 products may use tf32, `data` what activations hold, `attention` the kernel of
    scaled dot products, empty for the runtime's own choice.
    """

    math: Literal["", "tf32"] = ""
    data: Data = "normal"
    attention: Attention = ""

    @property
    def key(self) -> str:
        """A short name of what differs from the usual, empty where nothing does."""
        data = "" if self.data == "normal" else self.data
        return ",".join(part for part in (self.math, data, self.attention) if part)


PLAIN = Setting()


@dataclass(frozen=True, slots=True)
class Timing:
    """One visit to a primitive: seconds and joules of ONE execution, and the state that the device was in.

    `latency_s` is a median over `repeats` executions or windows, `spread` the standard deviation of their logarithms
    (robust, so that one interrupt does not count). `energy_j` is None where nobody metered it, never 0;
    `energy_error` is the relative error that the meter states. `at_s` is when, on the backend's clock.
    """

    latency_s: float
    repeats: int = 1
    spread: float = 0.0
    energy_j: float | None = None
    energy_error: float | None = None
    power_w: float | None = None
    clocks_hz: float | None = None
    temperature_c: float | None = None
    throttled: tuple[str, ...] = ()
    at_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Idle:
    """Power of a device that computes nothing, in W; None where nobody metered it."""

    bare_w: float | None = None
    context_w: float | None = None
    error: float | None = None


NO_IDLE = Idle()


class Prepared(Protocol):
    """A primitive with its operands in place."""

    def run(self) -> None:
        """Execute once (asynchronously, where the device allows it)."""
        ...

    def close(self) -> None:
        """Give the memory back."""
        ...


class Backend(Protocol):
    """A machine under one runtime, as calibration sees it. Not to be shared between threads.

    `target` is what the user called it (`cpu`, `cuda:0`). `runtime` is a name that `Runtime.load` knows. `passes` is
    how often every primitive is visited: on a CPU several times, each cold, and the median of the visits counts.
    """

    target: str
    runtime: str
    passes: int

    def facts(self) -> Mapping[str, Any]:
        """What a profile says about the machine, as JSON, all optional.

        `device` (its name), `kind` (`cpu` or `gpu`), `driver`, `libraries` (versions by name: another version is
        another calibration), `host`, `units` (cores in use, or multiprocessors), `memory_bytes`, `l2_bytes`,
        `power_limit_w`, `meter`.
        """
        ...

    def prepare(self, primitive: Primitive, seed: int, setting: Setting = PLAIN) -> Prepared:
        """The primitive with random operands. Raises Unrunnable with the reason."""
        ...

    def time(self, prepared: Any, *, energy: bool = False) -> Timing:
        """Seconds of one execution and, where `energy` and there is a meter, joules. Raises Unrunnable."""
        ...

    def host(self) -> HostCost | Mapping[str, HostCost] | None:
        """What the host spends per launch, view and run, or that by runtime; None where it cannot be told apart."""
        ...

    def idle(self) -> Idle:
        """Power with nothing to do, before and with an open context."""
        ...

    def now_s(self) -> float:
        """The backend's clock; a replayed one runs as fast as it is read."""
        ...

    def close(self) -> None:
        """Let go of the machine."""
        ...

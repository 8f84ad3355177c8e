"""What a person chooses beside the model, in whatever form it was given; or a sentence that says what is allowed."""

from __future__ import annotations

import difflib
import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from energy_opt.errors import DeviceError, DimError, UsageError
from energy_opt.estimators.device import Device
from energy_opt.estimators.runtime import Runtime

PRECISIONS: Mapping[str, str] = {"fp16": "cast-fp16", "bf16": "cast-bf16"}
"""What-if precisions and the pass that makes them. `as-is` is the model's own."""


def device(given: Any) -> Device:
    """The device of a name, of the path of a profile, or as it is.

    Raises:
        DeviceError: it is not known, or nothing that names one.
    """
    if isinstance(given, Device):
        return given
    if isinstance(given, (str, os.PathLike)):
        return Device.load(os.fspath(given))
    raise DeviceError(
        f"device is {_described(given)}; give a name such as 't4' (energy_opt.devices() lists them), "
        "the path of a profile, or a Device"
    )


def runtime(given: Any) -> Runtime | None:
    """The runtime of a name, or as it is; None stays None.

    Raises:
        UsageError: it is not known, or nothing that names one.
    """
    if given is None or isinstance(given, Runtime):
        return given
    if isinstance(given, str):
        return Runtime.load(given)
    raise UsageError(f"runtime is {_described(given)}; there are {', '.join(Runtime.names())}")


def precision(given: Any) -> str:
    """The name of a what-if precision, or `as-is`.

    Raises:
        UsageError: it is not known.
    """
    if given == "as-is" or (isinstance(given, str) and given in PRECISIONS):
        return str(given)
    raise UsageError(f"precision {given!r} is not known; there are as-is, {', '.join(PRECISIONS)}")


def sizes(given: Any) -> dict[str, Any]:
    """Sizes by the names of dims; {} for None.

    Raises:
        DimError: it is no dictionary.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise DimError(
            f'dims is {_described(given)}; give sizes by name: {{"batch": 8, "seq": 128}}'
        )
    return dict(given)


def refuse_misspelt(names: Iterable[str], function: Callable[..., Any]) -> None:
    """Raises DimError where a keyword that is no dim of the model looks like a parameter of the function."""
    options = [
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    ]
    for name in names:
        near = difflib.get_close_matches(name, options, n=1, cutoff=0.75)
        if near:
            raise DimError(
                f"{function.__name__} has no option {name!r}, and the model no dim of that name; "
                f"did you mean {near[0]}?"
            )


def _described(value: Any) -> str:
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name} ({' '.join(str(value).split())[:60]})"

"""Why torch.export cannot take a module, in a few lines: torch's reason, the line it is about, what to do."""

from __future__ import annotations

import linecache
import re
import sysconfig
import traceback
from pathlib import Path
from typing import NamedTuple

from energy_opt.errors import ModelError

_LONGEST = 300


class Place(NamedTuple):
    """A line of the user's code."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        text = linecache.getline(self.file, self.line).strip()
        where = f"{self.file}:{self.line}, in {self.function}"
        return f"{where}: `{text}`" if text else where


def refusal(name: str, error: BaseException, recording: BaseException | None = None) -> ModelError:
    """The ModelError that says why a module was not exported; `recording` is why it was not recorded before."""
    chain = _chain(error)
    known = _explained(chain)
    place = next((found for found in map(_place, chain) if found is not None), None)
    if known is None:
        same = recording is not None and _worded(recording) == _worded(error)
        # Of the same failure at other sizes, the one whose sizes are numbers is read more easily.
        shown = recording if recording is not None and same else error
        known = f"it fails on these inputs with {type(shown).__name__}: {_first(shown)}", _RUN
        if recording is not None and not same:
            known = f"{known[0]} (and when it is recorded: {_first(recording)})", _RUN
        if recording is not None:
            place = place or _place(recording)
    reason, advice = known
    at = f" (at {place})" if place is not None else ""
    return ModelError(f"{name} cannot be turned into a graph: {reason}{at}. What to do: {advice}")


def _explained(chain: list[BaseException]) -> tuple[str, str] | None:
    """What the error means and what to do about it, where it is one of those that torch is known for."""
    for kinds, pattern, reason, advice in _CASES:
        for error in chain:
            names = {kind.__name__ for kind in type(error).__mro__}
            if names & kinds or (pattern and re.search(pattern, str(error))):
                return reason.format(_first(error)), advice
    return None


def _chain(error: BaseException) -> list[BaseException]:
    """The error and what it came from, the error first."""
    found: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in found:
        found.append(current)
        current = current.__cause__ or current.__context__
    return found


def _first(error: BaseException) -> str:
    """The first sentence of the message that says anything, without torch's advice on how to debug torch."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    if text.endswith('For more information, run with TORCH_LOGS="+dynamic".') and len(lines) > 1:
        text = f"{text.split('!')[0]}: {lines[1].lstrip('- ')}"
    text = text.rstrip(". ")
    for end in (
        " (unhinted:",
        ".  (Size-like",
        ". (Size-like",
        "; it's likely",
        " For more information",
    ):
        text = text.split(end)[0]
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _worded(error: BaseException) -> str:
    """The message without its numbers: it was raised at other sizes."""
    return re.sub(r"\b[su]?\d+\b", "", _first(error))


def _place(error: BaseException) -> Place | None:
    """The last line that is not torch's, Python's or ours: where the user's code asked for it."""
    found = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        file = frame.f_code.co_filename
        if not _internal(file):
            found = Place(file, line, frame.f_code.co_qualname)
    return found


def _internal(file: str) -> bool:
    if file.startswith("<"):
        return True
    path = Path(file)
    parts = path.parts
    libraries = ("torch", "sympy", "functorch", "_pytest", "pluggy")
    if "site-packages" in parts:
        return parts[parts.index("site-packages") + 1] in libraries
    return path.is_relative_to(_STANDARD) or path.is_relative_to(_OURS)


_STANDARD = Path(sysconfig.get_paths()["stdlib"])
_OURS = Path(__file__).resolve().parents[2]

_RUN = (
    "run module(*inputs) with the same inputs and mend what it says; if it works there, export the model to ONNX "
    "(torch.onnx.export) and analyze the file."
)
_DATA = (
    "write the choice as torch.cond or torch.where and the loop as torch.while_loop, move the reading of values "
    "(.item(), .tolist(), bool(tensor)) out of forward, or say what holds of it with torch._check; analyze the part "
    "of the module that is free of it; or run the model once, export that run to ONNX and analyze the file."
)
_SIZES = "leave the size named there out of `dynamic`, or give an example input within the range it may have."
_OPERATOR = (
    "tell torch the shape of its result with torch.library.register_fake, and energy_opt what it costs with "
    "@energy_opt.rule."
)

_CASES: tuple[tuple[frozenset[str], str, str, str], ...] = (
    (
        frozenset({"GuardOnDataDependentSymNode"}),
        r"data-dependent",
        "its control flow depends on the values of tensors. torch.export says: {}",
        _DATA,
    ),
    (
        frozenset({"DataDependentOutputException"}),
        r"on meta tensors|out of meta tensor|from a meta tensor|\.(numpy|tolist)\(\) is not supported|data pointer",
        "it reads the values of tensors, which an analysis does not have. torch says: {}",
        _DATA,
    ),
    (
        frozenset({"DynamicOutputShapeException"}),
        "",
        "the shape of a result depends on the values of tensors. torch says: {}",
        _DATA,
    ),
    (
        frozenset({"UnsupportedOperatorException", "UnsupportedFakeTensorException"}),
        r"no fake impl|missing a fake|FakeTensor kernel",
        "an operator has no shapes without values. torch says: {}",
        _OPERATOR,
    ),
    (
        frozenset({"ConstraintViolationError"}),
        r"Constraints violated|specialized",
        "a size cannot be free. torch.export says: {}",
        _SIZES,
    ),
)
"""(classes of torch's exceptions by name, pattern of their messages, what it means, what to do), the first that fits.
By name, because the modules that define them move from release to release."""

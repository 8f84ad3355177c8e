"""`python:package.module:callable` -> the module and example inputs that the callable returns."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import importlib.util
import inspect
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from energy_opt.errors import EnergyOptError, ModelError, UsageError, one_line
from energy_opt.frontend.huggingface.prepared import Prepared

if TYPE_CHECKING:
    from energy_opt.ir.graph import Graph

__all__ = ["is_object", "load_object", "prepare"]

_SPEC = "python:"
_FORM = "write python:package.module:callable, such as python:nets.small:make for make() in nets/small.py"
_RETURN = "return (module, example_inputs), or (module, example_inputs, dynamic)"


def is_object(text: str) -> bool:
    """Whether MODEL names a callable."""
    return text.startswith(_SPEC)


def load_object(source: str, settings: Mapping[str, Any] | None = None) -> Graph:
    """The graph of the module that a callable returns. See `prepare`; raises what that and `load` raise."""
    from energy_opt.frontend import huggingface

    huggingface.require("torch")
    from energy_opt.frontend.pytorch.modules import load_module

    made = prepare(source, settings)
    return load_module(
        made.module, made.inputs, dynamic=made.dynamic, source=made.source, notes=made.notes
    )


def prepare(source: str, settings: Mapping[str, Any] | None = None) -> Prepared:
    """The module and inputs that `python:package.module:callable` returns, called with the settings by keyword.

    Modules are found as Python finds them, those of the current directory among them. The callable returns (module,
    example_inputs) or (module, example_inputs, dynamic); inputs are a tensor, a sequence of them or a dictionary, and
    `dynamic` names their free axes. A transformers model may come without inputs.

    Raises:
        UsageError: no such module or callable, or settings that it does not take.
        ModelError: it failed (the message quotes the line), or returned something else.
    """
    from energy_opt.frontend import huggingface

    huggingface.require("torch")
    settings = dict(settings or {})
    where = f"{source.rstrip(':')}:"
    path, colon, name = source.removeprefix(_SPEC).partition(":")
    if not (path and colon and name) or any(
        not part.isidentifier() for part in f"{path}.{name}".split(".")
    ):
        raise UsageError(f"{where} not of the form python:package.module:callable; {_FORM}")
    if path.endswith(".py"):
        raise UsageError(f"{where} a module is named without .py: {_SPEC}{path[:-3]}:{name}")
    with _current_directory():
        found = _find(_import(path, where), path, name, where)
        result = (
            _call(found, settings, where) if callable(found) and not _is_module(found) else found
        )
    return _prepared(result, huggingface.spec(source, settings), where)


@contextlib.contextmanager
def _current_directory() -> Iterator[None]:
    """Inside, modules of the current directory are found first, and what they print goes to stderr."""
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(here)


def _import(path: str, where: str) -> Any:
    importlib.invalidate_caches()
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{path}.".startswith(f"{error.name}."):
            raise _failed(error, f"{where} importing {path}") from error
        raise UsageError(
            f"{where} there is no module {error.name!r} in the current directory or among the installed packages; "
            "run in the directory that holds it, or install its package"
        ) from error
    except (Exception, SystemExit) as error:
        # It is a person's own code, and may raise anything; a script without a main guard may exit.
        raise _failed(error, f"{where} importing {path}") from error


def _find(module: Any, path: str, name: str, where: str) -> Any:
    found = module
    for part in name.split("."):
        if not hasattr(found, part):
            names = [each for each in vars(found) if not each.startswith("_")]
            near = difflib.get_close_matches(part, names, n=3, cutoff=0.6)
            own = [each for each in names if getattr(vars(found)[each], "__module__", None) == path]
            said = (
                f"did you mean {', '.join(near)}?"
                if near
                else f"it has {', '.join(own[:12]) or 'nothing'}"
            )
            raise UsageError(f"{where} {path} has no {part!r}; {said}")
        found = getattr(found, part)
    return found


def _call(function: Callable[..., Any], settings: Mapping[str, Any], where: str) -> Any:
    arguments = _arguments(function, settings, where)
    try:
        return function(**arguments)
    except EnergyOptError:
        raise
    except (Exception, SystemExit) as error:
        # As above: whatever a person's code raises is quoted.
        raise _failed(error, f"{where} calling it") from error


def _arguments(
    function: Callable[..., Any], settings: Mapping[str, Any], where: str
) -> dict[str, Any]:
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # written in C
        return dict(settings)
    kinds = {parameter.kind for parameter in parameters.values()}
    named = {
        name: parameter
        for name, parameter in parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }
    for name in settings:
        if name not in named and inspect.Parameter.VAR_KEYWORD not in kinds:
            near = difflib.get_close_matches(name, named, n=3, cutoff=0.6)
            said = (
                f"did you mean {', '.join(near)}?"
                if near
                else f"it takes {', '.join(named) or 'nothing'}"
            )
            raise UsageError(f"{where} it takes no argument {name!r}; {said}")
    needed = [
        name
        for name, parameter in named.items()
        if parameter.default is parameter.empty and name not in settings
    ]
    if needed:
        raise UsageError(
            f"{where} it needs {', '.join(needed)}; give them with --set {needed[0]}=VALUE, or write a function "
            f"without arguments that makes the model"
        )
    return {name: _value(value) for name, value in settings.items()}


def _value(value: Any) -> Any:
    """What a text means: a number, true, false, null, JSON, or else itself."""
    if not isinstance(value, str):
        return value
    words = {"true": True, "false": False, "none": None}
    if value.strip().lower() in words:
        return words[value.strip().lower()]
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _is_module(found: Any) -> bool:
    import torch

    return isinstance(found, torch.nn.Module)


def _prepared(result: Any, source: str, where: str) -> Prepared:
    import torch

    if _is_module(result):
        return _alone(result, source, where)
    if not isinstance(result, (tuple, list)) or not 2 <= len(result) <= 3:
        raise ModelError(f"{where} it returned {_described(result)}; {_RETURN}")
    module, inputs, dynamic = (*result, None) if len(result) == 2 else result
    if isinstance(module, torch.nn.Module) and inputs is None:
        return _alone(module, source, where)
    if not (_is_module(module) or isinstance(module, torch.export.ExportedProgram)):
        raise ModelError(
            f"{where} the first thing it returned is {_described(module)}, not a torch.nn.Module; {_RETURN}"
        )
    leaves = torch.utils._pytree.tree_leaves(inputs)
    if not any(isinstance(leaf, torch.Tensor) for leaf in leaves):
        raise ModelError(
            f"{where} its example inputs are {_described(inputs)}, which holds no tensor; give a tensor, a sequence of "
            "them in the order that the module takes them, or a dictionary of them by name"
        )
    if dynamic is not None and not isinstance(dynamic, (dict, list, tuple)):
        raise ModelError(
            f"{where} the third thing it returned is {_described(dynamic)}; "
            'free axes are named as {"x": {0: "batch"}}'
        )
    return Prepared(module, inputs, dynamic, source)


def _alone(module: Any, source: str, where: str) -> Prepared:
    if hasattr(module, "config") and importlib.util.find_spec("transformers"):
        import transformers

        from energy_opt.frontend import huggingface

        if isinstance(module, transformers.PreTrainedModel):
            made = huggingface.prepare(module)
            return Prepared(made.module, made.inputs, made.dynamic, source, made.notes)
    raise ModelError(
        f"{where} it returned a {type(module).__name__} without inputs; {_RETURN}, so that there is something to run"
    )


def _described(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, (tuple, list)):
        kinds = ", ".join(type(each).__name__ for each in value[:4])
        return (
            f"a {type(value).__name__} of {len(value)} ({kinds}{', ...' if len(value) > 4 else ''})"
        )
    return f"a {type(value).__name__}"


def _failed(error: BaseException, doing: str) -> ModelError:
    """The person's own line that failed: the last one outside installed packages."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if _is_own(frame.filename)]
    if isinstance(error, SyntaxError) and error.filename:
        place = f" at {_short(error.filename)}:{error.lineno}"
    elif own:
        place = f" at {_short(own[-1].filename)}:{own[-1].lineno}: {own[-1].line}"
    else:
        place = ""
    said = one_line(error)
    return ModelError(f"{doing} failed{place}: {type(error).__name__}{': ' if said else ''}{said}")


def _is_own(filename: str) -> bool:
    installed = ("site-packages", "dist-packages", os.path.dirname(os.__file__), "<frozen")
    return not any(part in filename for part in installed) and filename != __file__


def _short(filename: str) -> str:
    with contextlib.suppress(ValueError):  # another drive
        relative = os.path.relpath(filename)
        return filename if relative.startswith("..") else relative
    return filename

"""`python:package.module:callable`: what it returns, how it is found, and what it says where it fails."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from energy_opt.errors import EnergyOptError, ModelError, UsageError
from energy_opt.frontend.python_object import is_object, prepare

torch = pytest.importorskip("torch")

Write = Callable[[str], str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write a module into the current directory; its name, which no other test has."""
    monkeypatch.chdir(tmp_path)
    known = set(sys.modules)

    def write(code: str) -> str:
        name = f"written_{abs(hash(str(tmp_path)))}"
        (tmp_path / f"{name}.py").write_text("import torch\n" + textwrap.dedent(code))
        return name

    yield write
    for name in set(sys.modules) - known:
        if name.startswith("written_"):
            del sys.modules[name]


def test_a_callable_returns_a_module_and_inputs(write: Write) -> None:
    name = write("""
        def make():
            print("building")
            return torch.nn.Linear(4, 2), torch.zeros(3, 4), {"input": {0: "batch"}}
    """)
    path = list(sys.path)
    made = prepare(f"python:{name}:make")
    assert (made.module.out_features, tuple(made.inputs.shape)) == (2, (3, 4))
    assert made.dynamic == {"input": {0: "batch"}}
    assert made.source == f"python:{name}:make"
    assert sys.path == path


def test_what_it_prints_does_not_mix_with_the_answer(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    name = write("""
        def make():
            print("building")
            return torch.nn.Linear(4, 2), torch.zeros(3, 4)
    """)
    prepare(f"python:{name}:make")
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "building\n")


def test_settings_are_its_arguments(write: Write) -> None:
    name = write("""
        class Nets:
            @staticmethod
            def make(width, bias=True, *, label="none"):
                module = torch.nn.Linear(4, width, bias=bias)
                module.label = label
                return module, torch.zeros(3, 4)
    """)
    made = prepare(f"python:{name}:Nets.make", {"width": "8", "bias": "false", "label": "a b"})
    assert (made.module.out_features, made.module.bias, made.module.label) == (8, None, "a b")
    assert (
        made.source == f"python:{name}:Nets.make --set width=8 --set bias=false --set 'label=a b'"
    )


def test_a_transformers_model_comes_without_inputs(write: Write) -> None:
    pytest.importorskip("transformers")
    name = write("""
        def make():
            from transformers import BertConfig, BertModel
            with torch.device("meta"):
                return BertModel(BertConfig(num_hidden_layers=1))
    """)
    assert list(prepare(f"python:{name}:make").inputs) == ["input_ids"]


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("python:", "write python:package.module:callable"),
        ("python:math", "write python:package.module:callable"),
        ("python:nets/small.py:make", "python:nets.small:make"),
        ("python:surely_not_there:make", "no module 'surely_not_there'"),
        ("python:math.deeper:make", "no module 'math.deeper'"),
        ("python:small.py:make", "named without .py: python:small:make"),
        ("python:math:squirt", "did you mean sqrt"),
    ],
)
def test_what_cannot_be_found(spec: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        prepare(spec)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("return 5", "it returned a int"),
        ("return None", "it returned None"),
        ("return torch.nn.Linear(4, 2)", "a Linear without inputs"),
        ("return 1, torch.zeros(3)", "not a torch.nn.Module"),
        ("return torch.nn.Linear(4, 2), 5", "which holds no tensor"),
        ("return torch.nn.Linear(4, 2), torch.zeros(3, 4), 'batch'", "free axes are named as"),
        ("return torch.nn.Linear(4, 2), 1, 2, 3", "a tuple of 4 (Linear, int, int, int)"),
    ],
)
def test_what_is_returned_has_to_be_a_module_with_inputs(
    write: Write, body: str, says: str
) -> None:
    name = write(f"def make():\n    {body}\n")
    with pytest.raises(ModelError) as caught:
        prepare(f"python:{name}:make")
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        # "import torch" stands above: the first line of the code is the second of the file.
        (
            "def make():\n    return torch.zeros(2) @ torch.zeros(3), 1\n",
            ":3: return torch.zeros(2) @",
        ),
        ("def make():\n    raise SystemExit(3)\n", ":3: raise SystemExit(3): SystemExit: 3"),
        ("1 / 0\n", ":2: 1 / 0: ZeroDivisionError: division by zero"),
        ("def make(:\n", ":2: SyntaxError"),
        ("import surely_not_there\n", ":2: import surely_not_there: ModuleNotFoundError"),
    ],
)
def test_what_fails_in_it_is_quoted_with_its_line(write: Write, code: str, says: str) -> None:
    name = write(code)
    with pytest.raises(ModelError) as caught:
        prepare(f"python:{name}:make")
    assert f"{name}.py{says}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "it needs width; give them with --set width=VALUE"),
        ({"width": "2", "dept": "3"}, "did you mean depth"),
        ({"width": "2", "zzz": "3"}, "it takes width, depth"),
    ],
)
def test_arguments_that_do_not_fit(write: Write, settings: dict[str, str], says: str) -> None:
    name = write(
        "def make(width, depth=1):\n    return torch.nn.Linear(4, width), torch.zeros(4)\n"
    )
    with pytest.raises(EnergyOptError) as caught:
        prepare(f"python:{name}:make", settings)
    assert says in str(caught.value)


def test_only_its_own_form_is_a_callable() -> None:
    assert is_object("python:a.b:c")
    assert not is_object("model.onnx")

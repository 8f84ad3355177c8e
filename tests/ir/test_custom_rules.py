"""Rules that users register: what they may say, and what is said to them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir
import pytest
import sympy

from energy_opt.errors import RuleError, UsageError
from energy_opt.ir import signature
from energy_opt.ir.op import Op, Work
from energy_opt.ir.rules import RULES, rule
from energy_opt.ir.rules.registry import Entry
from tests.ir.rules.table import formula, op_of


@pytest.fixture(autouse=True)
def _registry_as_before() -> Iterator[None]:
    before = dict(RULES)
    yield
    RULES.clear()
    RULES.update(before)


def priced(function: Callable[[Op], Any], signature_text: str = "b,s,8 4,8 -> b,s,4") -> Any:
    rule("matmul", "mylib::op")(function)
    return signature.price(op_of("mylib::op", signature_text))


def test_a_rule_prices_its_op() -> None:
    def fused(op: Op) -> Work:
        b, s, k = op.x.dims
        return Work(matmul_flops=2 * b * s * k * op.y.dims[-1], kind="attention")

    found = priced(fused)
    assert (found.kind, found.modelled) == ("attention", True)
    assert found.work.matmul_flops == formula("64*b*s")


@pytest.mark.parametrize(
    ("given", "exact"),
    [
        (np.int64(6), 6),
        (6.0, 6),
        (2.5, sympy.Rational(5, 2)),
        (True, 1),
        (sympy.Integer(6), 6),
        (formula("b/2"), formula("b/2")),
    ],
)
def test_counts_become_exact(given: Any, exact: Any) -> None:
    work = priced(lambda op: Work(other_flops=given, sizes={"m": given})).work  # type: ignore[arg-type]
    assert (work.other_flops, work.sizes) == (exact, (("m", exact),))
    assert type(work.other_flops) is type(exact)


def unpacked(op: Op) -> Work:
    b, k = op.x.dims
    return Work(matmul_flops=b * k)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (unpacked, r"too many values.*mend the rule"),
        (lambda op: Work(op.need(0).dims[7]), "IndexError"),
        (lambda op: 1 / 0, "ZeroDivisionError"),
        (lambda op: op.nothing, "'Op' object has no attribute 'nothing'"),
        (lambda op: None, r"returned None: return energy_opt\.Work"),
        (lambda op: 3.0, "returned 3.0"),
        (lambda op: Work("many"), "matmul_flops = 'many'"),  # type: ignore[arg-type]
        (lambda op: Work(float("nan")), "matmul_flops = nan"),  # type: ignore[arg-type]
        (lambda op: Work(None), "matmul_flops = None"),  # type: ignore[arg-type]
        (lambda op: Work(other_flops=-1), "never negative"),
        (lambda op: Work(bytes_read=sympy.Symbol("width")), "width is in no operand's shape"),
        (lambda op: Work(kind="matrix"), r"the kind 'matrix'.*matmul"),
        (lambda op: Work(sizes=(1, 2)), "sizes are pairs"),  # type: ignore[arg-type]
    ],
)
def test_a_rule_that_fails_is_named(function: Callable[[Op], Any], message: str) -> None:
    with pytest.raises(RuleError, match=message) as caught:
        priced(function)
    text = str(caught.value)
    assert "test_custom_rules.py:" in text
    assert "mylib::op, for (float[b, s, 8], float[4, 8]) -> (float[b, s, 4])" in text


def test_an_operand_of_unknown_shape_is_no_failure() -> None:
    found = priced(lambda op: Work(other_flops=op.x.numel * op.x.rank), "? -> 2")
    assert (found.modelled, found.kind, found.problem) == (False, "other", "")


def test_a_bug_of_ours_is_told_and_costs_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(op: Op) -> Work:
        raise KeyError("stride")

    broken.__module__ = "energy_opt.ir.rules.aten.conv"
    monkeypatch.setitem(RULES, ("mylib", "op"), Entry("conv", broken))
    found = signature.price(op_of("mylib::op", "2 -> 2"))
    assert (found.modelled, found.problem) == (False, "KeyError: 'stride'")


def test_a_bug_of_ours_is_in_the_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    from energy_opt.ir.graph import Graph
    from energy_opt.ir.workload import workload

    def broken(op: Op) -> Work:
        raise TypeError("cannot determine truth value of Relational")

    broken.__module__ = "energy_opt.ir.rules.elementwise"
    monkeypatch.setitem(RULES, ("", "Relu"), Entry("elementwise", broken))
    model = onnx_ir.from_onnx_text(
        '<ir_version: 10, opset_import: ["" : 20]> g (float[2] x) => (float[2] y) { y = Relu(x) }'
    )
    work = workload(Graph(model, "written"))
    assert work.unmodelled == {"Relu": 1}
    assert [
        note for note in work.notes if note.startswith("Relu: its work rule failed (TypeError:")
    ]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("aten::mm",), r"aten::mm has a rule already, energy_opt\..*\.plain: pass override=True"),
        ((), "names no op"),
        (("mylib.op",), "write 'mylib::op'"),
        (("mylib.op.default",), "write 'mylib::op'"),
        (("mylib::op.default",), "overloads share a rule: write 'mylib::op'"),
        (("::op",), "domain::op_type"),
        (("",), "domain::op_type"),
        ((len,), "not <built-in function len>"),
        (("mylib::new", "aten::mm"), "aten::mm has a rule already"),
    ],
)
def test_what_is_no_registration_is_refused(names: tuple[Any, ...], message: str) -> None:
    before = dict(RULES)
    with pytest.raises(UsageError, match=message):
        rule("matmul", *names)(lambda op: Work())
    assert before == RULES


def test_a_rule_is_replaced_where_that_is_meant() -> None:
    rule("conv", "aten::mm", override=True)(lambda op: Work(7))
    assert signature.price(op_of("aten::mm", "2,3 3,4 -> 2,4")).work.matmul_flops == 7


def test_a_cell_may_run_twice() -> None:
    for flops in (1, 2):

        @rule("matmul", "mylib::op")
        def mine(op: Op, flops: int = flops) -> Work:
            return Work(flops)

    assert signature.price(op_of("mylib::op", "2 -> 2")).work.matmul_flops == 2
    with pytest.raises(UsageError, match="already"):
        rule("matmul", "mylib::op")(unpacked)


def test_the_standard_domain_has_two_names() -> None:
    rule("norm", "ai.onnx::MatMul", override=True)(lambda op: Work(5))
    assert signature.price(op_of("MatMul", "2,3 3,4 -> 2,4")).work.matmul_flops == 5


def test_our_rules_of_torch_do_not_come_after_a_users(root: Path) -> None:
    """They are imported when they are needed: here when a rule of theirs is to be replaced."""
    code = (
        "from energy_opt.ir.rules import RULES, lookup, rule\n"
        "assert ('aten', 'mm') not in RULES\n"
        "mine = rule('conv', 'aten::conv2d', override=True)(lambda op: None)\n"
        "assert lookup('aten', 'conv2d').rule is mine\n"
        "assert lookup('aten', 'mm').kind == 'matmul'\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True, timeout=120)

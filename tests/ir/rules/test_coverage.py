from __future__ import annotations

import re
from pathlib import Path

import onnx.defs
import pytest

from energy_opt.errors import UsageError
from energy_opt.ir.rules import RULES, lookup, rule
from energy_opt.ir.rules.registry import KINDS


def written_list(root: Path) -> set[str]:
    """The ops that docs/ops.md lists as having no rule."""
    _, _, section = (
        (root / "docs" / "ops.md").read_text(encoding="utf-8").partition("## Ops without a rule")
    )
    return set(re.findall(r"^\| `([\w.:]+)` \| \S", section, flags=re.MULTILINE))


def test_every_op_of_every_onnx_version_has_a_rule_or_a_reason(root: Path) -> None:
    types = {(schema.domain, schema.name) for schema in onnx.defs.get_all_schemas_with_history()}
    types |= {("", "Upsample"), ("", "Scatter"), ("", "SimplifiedLayerNormalization")}
    missing = {
        f"{domain}::{name}" if domain else name
        for domain, name in types
        if lookup(domain, name) is None
    }
    assert len(types) > 220
    assert missing <= written_list(root)


def test_every_op_of_onnx_runtime_has_a_rule_or_a_reason(root: Path) -> None:
    state = pytest.importorskip("onnxruntime.capi.onnxruntime_pybind11_state")
    types = {(schema.domain, schema.name) for schema in state.get_all_operator_schema()}
    missing = {
        f"{domain}::{name}" if domain else name
        for domain, name in types
        if lookup(domain, name) is None
    }
    assert {domain for domain, _ in types} >= {"", "ai.onnx.ml", "com.microsoft"}
    assert missing <= written_list(root)


def test_every_op_whose_shapes_can_be_inferred_has_a_rule(root: Path) -> None:
    inference = pytest.importorskip("onnx_shape_inference")
    inference.registry.collect()
    types = {(domain, name) for domain, name, *_ in inference.registry.iter_supported()}
    missing = {
        f"{domain}::{name}" if domain else name
        for domain, name in types
        if lookup(domain, name) is None
    }
    assert missing <= written_list(root)


def test_the_written_list_names_no_op_that_has_a_rule(root: Path) -> None:
    names = written_list(root)
    assert names
    for name in names:
        domain, _, op_type = name.rpartition("::")
        assert lookup(domain, op_type) is None, name


def test_domains_of_onnx_are_one() -> None:
    assert lookup("ai.onnx", "MatMul") is lookup("", "MatMul") is not None


def test_kinds_are_known() -> None:
    assert {entry.kind for entry in RULES.values()} <= KINDS


@pytest.mark.parametrize(
    ("kind", "op", "message"), [("matmull", "Foo", "matmull"), ("matmul", "MatMul", "already")]
)
def test_a_rule_is_refused(kind: str, op: str, message: str) -> None:
    before = dict(RULES)
    with pytest.raises(UsageError, match=message):
        rule(kind, op)(lambda _: None)  # type: ignore[arg-type, return-value]
    assert before == RULES

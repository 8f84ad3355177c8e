"""cross_check: other counters run on the same module, and what each of them misses is said by name."""

from __future__ import annotations

import io
import json
import logging
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("fvcore")
from rich.console import Console  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

import energy_opt as eo  # noqa: E402
from energy_opt import cli, shell  # noqa: E402
from energy_opt.errors import DimError, ModelError, UsageError  # noqa: E402
from energy_opt.frontend.pytorch import counters, crosscheck  # noqa: E402
from energy_opt.report import crosscheck as report  # noqa: E402

BATCH, SEQ, WIDTH = 2, 10, 64
LINEAR = 2 * BATCH * SEQ * WIDTH * WIDTH  # of one square layer, a multiply-add being 2


class Mixed(nn.Module):
    """One operator of each kind that some counter misses."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)
        self.conv = nn.Conv1d(WIDTH, WIDTH, 3, padding=1)
        self.norm = nn.LayerNorm(WIDTH)
        self.lstm = nn.LSTM(WIDTH, WIDTH, batch_first=True)

    def forward(self, x: Any) -> Any:
        x = self.norm(self.linear(x))
        heads = x.view(x.shape[0], -1, 4, 16).transpose(1, 2)
        x = x + F.scaled_dot_product_attention(heads, heads, heads).transpose(1, 2).flatten(2)
        x = x + self.conv(x.transpose(1, 2)).transpose(1, 2)
        return self.lstm((x @ x.transpose(1, 2)) @ x)[0]


EXPECTED = {
    "linear": LINEAR,
    "conv": 3 * LINEAR,
    "scaled_dot_product_attention": 2
    * 2
    * BATCH
    * SEQ
    * SEQ
    * WIDTH,  # two products over 4 heads of 16
    "matmul": 2 * 2 * BATCH * SEQ * SEQ * WIDTH,
    "lstm": 8 * LINEAR,  # 4 gates, from the input and from the state
}


@pytest.fixture(scope="module")
def mixed() -> crosscheck.CrossCheck:
    return eo.cross_check(Mixed(), torch.randn(BATCH, SEQ, WIDTH))


def by_name(found: crosscheck.CrossCheck) -> dict[str, counters.Count]:
    return {count.name: count for count in found.counts}


def test_ours_is_the_closed_form(mixed: crosscheck.CrossCheck) -> None:
    assert mixed.ours == EXPECTED
    assert list(mixed.ours) == sorted(EXPECTED, key=lambda name: -EXPECTED[name])


def test_on_fake_tensors_flop_counter_mode_agrees(mixed: crosscheck.CrossCheck) -> None:
    count = by_name(mixed)["flop_counter_math"]
    assert count.operators == EXPECTED
    assert (mixed.missed(count), mixed.different(count)) == ([], [])


def test_on_cpu_tensors_it_loses_attention_and_lstm(mixed: crosscheck.CrossCheck) -> None:
    count = by_name(mixed)["flop_counter"]
    assert mixed.missed(count) == ["lstm", "scaled_dot_product_attention"]
    assert mixed.different(count) == []
    assert count.printed == LINEAR + 3 * LINEAR + EXPECTED["matmul"]


def test_fvcore_counts_multiply_adds_and_norms(mixed: crosscheck.CrossCheck) -> None:
    count = by_name(mixed)["fvcore"]
    assert mixed.missed(count) == ["lstm", "scaled_dot_product_attention"]
    assert {"lstm", "scaled_dot_product_attention"} <= set(count.unsupported)
    # Its own total is in MACs, and 5 FLOPs for every element that a layer norm normalises are in it.
    assert count.other == {"layer_norm": 5 * BATCH * SEQ * WIDTH}
    known = EXPECTED["linear"] + EXPECTED["conv"] + EXPECTED["matmul"]
    assert count.printed == known / 2 + 5 * BATCH * SEQ * WIDTH
    assert sum(count.operators.values()) == known


def test_an_operator_that_is_counted_otherwise_is_named() -> None:
    class Outer(nn.Module):
        def forward(self, x: Any) -> Any:
            # e is in one operand alone: a sum and an outer product, where fvcore counts every combination of indices.
            return torch.einsum("bsd,bte->bst", x, x)

    found = eo.cross_check(Outer(), torch.zeros(BATCH, SEQ, WIDTH))
    assert found.different(by_name(found)["fvcore"]) == ["einsum"]


def test_the_encoder_of_torch_is_counted_whole() -> None:
    layer = nn.TransformerEncoderLayer(WIDTH, 4, 4 * WIDTH, batch_first=True)
    found = eo.cross_check(layer, torch.zeros(BATCH, SEQ, WIDTH))
    # The projections of query, key, value and output, and two layers of four times the width.
    assert found.ours["linear"] == 12 * LINEAR
    assert by_name(found)["flop_counter_math"].operators["linear"] == 12 * LINEAR
    assert by_name(found)["flop_counter"].operators["linear"] == 12 * LINEAR
    assert any("switched off" in note for note in found.notes)
    assert torch.backends.mha.get_fastpath_enabled()


def test_a_config_at_other_sizes() -> None:
    pytest.importorskip("transformers")
    settings = {
        "num_hidden_layers": 2,
        "hidden_size": 64,
        "num_attention_heads": 4,
        "intermediate_size": 128,
    }
    found = eo.cross_check("hf:bert", settings=settings, batch=3, seq=7)
    # 4 d^2 + 2 d ff per token and layer, the pooler once per sequence; two products of attention.
    linear = 2 * 2 * (4 * 64 * 64 + 2 * 64 * 128) * 3 * 7 + 2 * 64 * 64 * 3
    assert found.ours == {
        "linear": linear,
        "scaled_dot_product_attention": 2 * 2 * 2 * 3 * 7 * 7 * 64,
    }
    assert (found.dims["batch"], found.dims["seq"]) == (3, 7)
    assert by_name(found)["flop_counter_math"].operators == found.ours
    assert by_name(found)["fvcore"].operators == {"linear": linear}
    assert found.source.startswith("hf:bert --set ")
    with pytest.raises(DimError, match="batch"):
        eo.cross_check("hf:bert", settings=settings, samples=3)


def test_a_decoder_that_looks_at_its_masks() -> None:
    pytest.importorskip("transformers")
    settings = {
        "num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2,
        "intermediate_size": 128, "vocab_size": 100,
    }  # fmt: skip
    found = eo.cross_check("hf:llama", settings=settings, batch=3, seq=7)
    # Query and output d^2 each, key and value half as wide, three products with the width ff; logits of every token.
    linear = 2 * (2 * (3 * 64 * 64 + 3 * 64 * 128) + 64 * 100) * 3 * 7
    assert found.ours["linear"] == linear
    count = by_name(found)["flop_counter_math"]
    assert count.failed == ""
    assert count.operators == found.ours


def test_the_module_is_left_alone() -> None:
    module = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH)).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    eo.cross_check(module, torch.randn(BATCH, WIDTH))
    assert module.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert module[0].weight.requires_grad


def test_a_large_model_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crosscheck, "MOST_FLOPS", 1e3)
    found = eo.cross_check(nn.Linear(WIDTH, WIDTH), torch.zeros(1, WIDTH))
    assert list(by_name(found)) == ["flop_counter_math"]
    assert any("smaller dims or fewer layers" in note for note in found.notes)


def test_a_counter_that_fails_says_why() -> None:
    class Moves(nn.Module):
        def forward(self, x: Any) -> Any:
            return x.cuda() if x.device.type == "cpu" else x @ x

    found = eo.cross_check(Moves(), torch.zeros(4, 4, device="meta")).to_dict()
    failed = {counter["name"] for counter in found["counters"] if "failed" in counter}
    assert failed == {"flop_counter", "fvcore"}
    text = rendered(found)
    assert "could not run this model" in text


def test_torch_logs_nothing_of_a_counter_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    class Fails(nn.Module):
        def forward(self, x: Any) -> Any:
            logging.getLogger("torch").error("a traceback")
            return x.cuda()

    before = logging.root.manager.disable
    count = counters.flop_counter(Fails(), [torch.zeros(1)], {}, device="cpu", math=False)
    assert count.failed
    assert not caplog.records
    assert logging.root.manager.disable == before


def rendered(found: dict[str, Any]) -> str:
    console = Console(width=200, file=io.StringIO())
    console.print(report.render(found))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_it_shows_itself_in_a_terminal_and_a_notebook(mixed: crosscheck.CrossCheck) -> None:
    console = Console(width=200, file=io.StringIO())
    console.print(mixed)
    assert console.file.getvalue() == rendered(mixed.to_dict())  # type: ignore[attr-defined]
    page = mixed._repr_html_()  # type: ignore[attr-defined]
    assert page.startswith('<div class="energy-opt">')
    assert "<td>lstm</td>" in page


def test_the_table_names_what_is_missed(mixed: crosscheck.CrossCheck) -> None:
    text = rendered(json.loads(json.dumps(mixed.to_dict())))
    lstm = next(line for line in text.splitlines() if line.strip().startswith("lstm"))
    assert lstm.split() == ["lstm", "1.31", "M", "missed", "1.31", "M", "missed"]
    share = (
        100 * (EXPECTED["lstm"] + EXPECTED["scaled_dot_product_attention"]) / sum(EXPECTED.values())
    )
    assert (
        f"counts nothing for lstm, scaled_dot_product_attention ({share:.0f} % of our FLOPs)"
        in text
    )
    assert "agrees on every operator" in text
    assert "MACs, layer_norm included" in text


@pytest.mark.parametrize(
    ("model", "error", "says"),
    [
        ("bert.onnx", UsageError, "an .onnx file holds none"),
        ("hf:nothing-like-it", (UsageError, ModelError), "nothing-like-it"),
        (nn.Linear(4, 4), UsageError, "Linear needs example inputs"),
        (3, UsageError, "runs a torch.nn.Module, not this int"),
    ],
)
def test_what_holds_no_module_is_refused(model: Any, error: Any, says: str) -> None:
    with pytest.raises(error, match=says):
        eo.cross_check(model)


def test_the_flag_adds_it_to_the_analysis(capsys: pytest.CaptureFixture[str]) -> None:
    small = [
        f"--set={s}" for s in ("num_hidden_layers=1", "hidden_size=64", "num_attention_heads=4")
    ]
    base = ["analyze", "hf:bert", *small, "--dim=seq=8", "--device=t4", "--cross-check", "-q"]
    assert shell.run(cli.app, [*base, "--format", "json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["cross_check"]["schema"] == "energy-opt/cross-check/1"
    assert answer["cross_check"]["total"] == answer["totals"]["matmul_flops"]
    assert shell.run(cli.app, base) == 0
    assert "counts nothing for scaled_dot_product_attention" in capsys.readouterr().out
    assert shell.run(cli.app, [*base, "--format", "csv"]) == 2
    assert "--format table or json" in capsys.readouterr().err

"""Multiply-accumulates of whole models against closed forms derived by hand (tests/oracles/macs.py)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

import energy_opt
from tests.oracles import macs

TEXT = ({"batch": 1, "seq": 16}, {"batch": 1, "seq": 384}, {"batch": 8, "seq": 128})
IMAGE = ({"batch": 1}, {"batch": 32})
TRANSLATION = (
    {"batch": 1, "seq": 16, "decoder_seq": 7},
    {"batch": 4, "seq": 128, "decoder_seq": 60},
)
SPEECH = ({"batch": 1, "decoder_seq": 4}, {"batch": 3, "decoder_seq": 100})


class Case(NamedTuple):
    """A model file and what it should count to."""

    file: str
    oracle: Callable[..., int]
    sizes: tuple[dict[str, int], ...]


CASES = (
    Case("examples/bert-base.onnx", macs.bert_base, TEXT),
    Case("examples/distilbert.onnx", macs.distilbert, TEXT),
    Case("examples/gpt2.onnx", macs.gpt2, TEXT),
    Case("examples/resnet50.onnx", macs.resnet50, IMAGE),
    Case("examples/vit-b16.onnx", macs.vit_b16, IMAGE),
    Case("examples/whisper-tiny.onnx", macs.whisper_tiny, SPEECH),
    Case("examples/t5-small.onnx", macs.t5_small, TRANSLATION),
    Case("examples/llama-1b.onnx", macs.llama_1b, TEXT),
    Case("examples/mixtral.onnx", macs.mixtral, TEXT),
    Case("tests/data/distilbert_23.onnx", macs.distilbert, TEXT),  # Attention as one op
    Case("tests/data/mixtral_23.onnx", macs.mixtral, TEXT),  # grouped-query Attention, RMSNorm
    Case("tests/data/distilbert_legacy14.onnx", macs.distilbert, TEXT),  # the TorchScript exporter
    Case("tests/data/resnet50_legacy13.onnx", macs.resnet50, IMAGE),
)

# Of the published checkpoints: 124,439,808 is the count that OpenAI's GPT-2 loads; Llama 3.2 1B says
# 1.24B, and 1,235,814,400 is the sum over its tensors with the embedding counted once.
PARAMETERS = (
    ("gpt2", 124_439_808),
    ("llama-1b", 1_235_814_400),
    ("bert-base", 109_482_240),
    ("distilbert", 66_362_880),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: Path(case.file).stem)
def test_macs_equal_the_closed_form(case: Case, root: Path) -> None:
    graph = energy_opt.load(root / case.file)
    for sizes in case.sizes:
        totals = energy_opt.analyze(graph, device="t4", **sizes).to_dict()["totals"]
        assert totals["macs"] == pytest.approx(case.oracle(**sizes), rel=1e-3), sizes


def test_experts_that_choose_tokens_by_nonzero_count_the_tokens_given(root: Path) -> None:
    # One Mixtral block, d 512, FFN 1792, 2 of 8 experts; each expert takes its tokens by NonZero, so
    # how many is known only at run time. 64 tokens with 2 experts each are 128 choices, 16 per expert.
    graph = energy_opt.load(root / "tests/data/moe-nonzero_20.onnx")
    chosen = [name for name, info in graph.dims.items() if info.origin == "data"]
    assert len(chosen) == 8
    sizes = {"batch": 4, "seq": 16} | dict.fromkeys(chosen, 16)
    totals = energy_opt.analyze(graph, device="t4", **sizes).to_dict()["totals"]
    router = 64 * 512 * 8
    experts = 128 * 3 * 512 * 1792  # gate, up, down of each choice
    assert totals["macs"] == router + experts
    # Left to themselves the experts get their share of the choices, here and where it is no whole number.
    assert energy_opt.analyze(graph, device="t4", batch=4, seq=16).macs == router + experts
    assert energy_opt.analyze(graph, device="t4", batch=1, seq=1).macs == (router + experts) / 64
    assert any("TopK" in note for note in graph.notes)


@pytest.mark.parametrize(("name", "parameters"), PARAMETERS)
def test_parameters_equal_the_published_count(name: str, parameters: int, examples: Path) -> None:
    totals = energy_opt.analyze(examples / f"{name}.onnx", device="t4").to_dict()["totals"]
    # Exporters turn a few buffers (position ids, mask constants) into initializers too.
    assert totals["parameters"] == pytest.approx(parameters, rel=1e-4)


# (file, sizes, peak bytes worked out by hand)
PEAKS = (
    # The sum that ends a block of the first stage: two addends and the result, 256 x 56 x 56 floats each.
    ("examples/resnet50.onnx", {"batch": 1}, 3 * 256 * 56 * 56 * 4),
    ("examples/resnet50.onnx", {"batch": 4}, 4 * 3 * 256 * 56 * 56 * 4),
    # GELU between the feed-forward layers: 3072 wide in and out, and 768 wide beside them for the
    # residual; 256 tokens. torch's profiler says 7,110,656 for the exported program of BERT.
    ("tests/data/distilbert_23.onnx", {"batch": 2, "seq": 128}, 256 * (3072 + 3072 + 768) * 4),
)


@pytest.mark.parametrize(("file", "sizes", "peak_bytes"), PEAKS)
def test_peak_activation_memory(
    file: str, sizes: dict[str, int], peak_bytes: int, root: Path
) -> None:
    totals = energy_opt.analyze(root / file, device="t4", **sizes).to_dict()["totals"]
    # Masks and shapes, under 1 %, are alive as well.
    assert totals["peak_activation_bytes"] == pytest.approx(peak_bytes, rel=0.01)


def test_the_resnet_oracle_gives_the_sum_worked_out_on_paper() -> None:
    # Stem, four stages, classifier: see the oracle's docstring.
    stages = 667_942_912 + 1_027_604_480 + 1_464_336_384 + 809_238_528
    assert macs.resnet50(1) == 118_013_952 + stages + 2_048_000 == 4_089_184_256


def test_the_mixtral_oracle_counts_two_experts_of_eight() -> None:
    # Per token and layer an expert costs 3 * 4096 * 14336 = 176,160,768; a layer more adds two of them.
    step = macs.mixtral(1, 1, layers=3) - macs.mixtral(1, 1, layers=2)
    # q and o 4096^2 each, k and v 4096 * 1024 each, scores and sum 2 * 4096, router 4096 * 8
    rest = 2 * 16_777_216 + 2 * 4_194_304 + 8_192 + 32_768
    assert step == 2 * 176_160_768 + rest

"""Peak activation memory of PyTorch modules: ours beside torch's memory profiler, for plain calls on the processor.

    python benchmarks/memory_torch.py [--models bert,llama] [--json FILE]

Modules are of medium size with random weights. `ours` is the peak under the `eager` runtime of the graph that `load`
makes of the module; `call` is the module as a person calls it, `program` the same call with the flags that torch.export
sets: models then write out the mask that they leave away elsewhere, as our graph does. `+ scratch` is what kernels
allocate and free before they return, as in benchmarks/memory.py. Needs the `torch` extra.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import warnings
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import kernels_torch  # noqa: E402
import memory  # noqa: E402

import energy_opt as eo  # noqa: E402
from energy_opt.frontend.huggingface import Prepared, prepare  # noqa: E402

_ENCODER = {
    "num_hidden_layers": 4, "hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1024,
    "vocab_size": 1000,
}  # fmt: skip
_DECODER = {**_ENCODER, "num_key_value_heads": 2}
_WHISPER = {
    "encoder_layers": 2, "decoder_layers": 2, "d_model": 384, "encoder_attention_heads": 6,
    "decoder_attention_heads": 6, "encoder_ffn_dim": 1536, "decoder_ffn_dim": 1536,
}  # fmt: skip
_T5 = {"d_model": 256, "d_ff": 1024, "num_layers": 3, "num_heads": 4, "vocab_size": 1000}
_SDPA, _EAGER = ({"attn_implementation": kind} for kind in ("sdpa", "eager"))
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("hf:bert", {**_ENCODER, **_SDPA}),
    "bert-eager": ("hf:bert", {**_ENCODER, **_EAGER}),
    "gpt2": ("hf:gpt2", {"n_layer": 4, "n_embd": 256, "n_head": 4, "vocab_size": 1000}),
    "llama": ("hf:llama", {**_DECODER, **_SDPA}),
    "llama-eager": ("hf:llama", {**_DECODER, **_EAGER}),
    "mixtral": ("hf:mixtral", {**_DECODER, "num_local_experts": 4}),
    "t5": ("hf:t5", _T5),
    "whisper-tiny": ("hf:whisper", _WHISPER),
    "vit": ("hf:vit", {"num_hidden_layers": 4}),
    "swin": ("hf:swin", {"depths": [2, 2, 2, 2]}),
    "resnet50": ("hf:resnet", {}),
    "convnext": ("hf:convnext", {"depths": [2, 2, 2, 2]}),
}
BATCH = 2


def weighted(prepared: Prepared) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    """The module with random weights, and random inputs of a batch of two."""
    kind: Any = type(prepared.module)
    module = kind._from_config(prepared.module.config).eval()
    inputs = {}
    for name, example in prepared.inputs.items():
        axes = prepared.dynamic.get(name, {})
        shape = [BATCH if axes.get(axis) == "batch" else n for axis, n in enumerate(example.shape)]
        if example.dtype.is_floating_point:
            inputs[name] = torch.randn(shape, dtype=example.dtype)
        else:
            inputs[name] = torch.randint(1, 2 if "mask" in name else 900, shape)
    return module, inputs


def row(name: str) -> dict[str, Any]:
    """Print one model's peaks."""
    module, inputs = weighted(prepare(*CASES[name]))
    work = eo.workload(eo.load(module, inputs))
    ours = float(work.peak_activation_bytes(work.bind({}), frames=True))
    call = memory.profiled(module, inputs)
    with kernels_torch.flags(exporting=True):
        program = memory.profiled(module, inputs)
    cells = [ours / 1e6]
    for peak in (call, program):
        cells += [peak.tensor_bytes / 1e6, ours / peak.tensor_bytes]
    cells.append((call.all_bytes - call.tensor_bytes) / 1e6)
    print(f"{name:14}", *(f"{cell:12.4f}" for cell in cells), flush=True)
    return {
        "benchmark": "memory_torch", "setting": name, "quantity": "peak_activation_bytes", "metric": "ratio",
        "value": ours / call.tensor_bytes, "exporting": ours / program.tensor_bytes,
    }  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default=",".join(CASES), help=f"of {', '.join(CASES)}")
    parser.add_argument("--json", type=Path, help="also write the rows here")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    titles = ("ours MB", "call MB", "ratio", "program MB", "ratio", "+ scratch MB")
    print(f"{'':14}", *(f"{title:>12}" for title in titles))
    rows = [row(name) for name in options.models.split(",")]
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()

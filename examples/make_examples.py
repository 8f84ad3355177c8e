"""Make the example models: real architectures, exported to ONNX, without their weights.

    python examples/make_examples.py                      # all of them, beside this file
    python examples/make_examples.py bert-base resnet50   # some
    python examples/make_examples.py --opset 23 --out DIR # elsewhere, at another opset

Needs the `torch` extra and onnxscript; no network, no checkpoint. Every model is built from its
published configuration with memory that is never written (so that 5 GB of Llama weights cost no
memory), exported with `torch.onnx.export(dynamo=True)`, and stripped: the graph, the shapes and the
module scopes stay, the weights and the stack traces go.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import onnx_ir as ir
import torch
import transformers
from transformers.initialization import no_init_weights

from energy_opt.frontend.strip import strip

DYNAMIC = torch.export.Dim.DYNAMIC
KEPT_METADATA = (
    "namespace",
    "pkg.torch.onnx.name_scopes",
    "pkg.torch.onnx.class_hierarchy",
)
SMALL = 1 << 16  # elements; the exporter merges equal tensors of up to 1024 elements


class Example(NamedTuple):
    """A module and the example inputs to export it with; `dynamic` lists each input's free axes."""

    module: torch.nn.Module
    inputs: dict[str, torch.Tensor]
    dynamic: dict[str, tuple[int, ...]]


def build(config: Any, architecture: Any) -> torch.nn.Module:
    """The module of a configuration, in eval mode, its large weights never written.

    Small weights get distinct values: the exporter merges small tensors that are equal, and a
    trained model's biases are not.
    """
    with no_init_weights():
        module = architecture(config)
    module.tie_weights()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.numel() <= SMALL:
                parameter.normal_(generator=generator)
        for name, buffer in module.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer.uniform_(0.5, 1.5, generator=generator)
    return module.eval()


def tokens(vocabulary: int, batch: int = 2, seq: int = 16) -> torch.Tensor:
    """Token ids[batch, seq], the same on every run."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, vocabulary, (batch, seq), generator=generator)


def text(config: Any, architecture: Any) -> Example:
    """A text model with input_ids[batch, seq] and attention_mask[batch, seq]."""
    ids = tokens(config.vocab_size)
    return Example(
        build(config, architecture),
        {"input_ids": ids, "attention_mask": torch.ones_like(ids)},
        {"input_ids": (0, 1), "attention_mask": (0, 1)},
    )


def vision(config: Any, architecture: Any) -> Example:
    """An image classifier with pixel_values[batch, 3, 224, 224]."""
    return Example(
        build(config, architecture),
        {"pixel_values": torch.zeros(2, 3, 224, 224)},
        {"pixel_values": (0,)},
    )


def bert_base(**settings: Any) -> Example:
    """BERT base (Devlin et al. 2019): encoder and pooler."""
    return text(transformers.BertConfig(**settings), transformers.BertModel)


def distilbert(**settings: Any) -> Example:
    """DistilBERT (Sanh et al. 2019): six of BERT's twelve layers, no pooler."""
    return text(transformers.DistilBertConfig(**settings), transformers.DistilBertModel)


def gpt2(**settings: Any) -> Example:
    """GPT-2 small (Radford et al. 2019) with its language-model head, prefill without a cache."""
    config = transformers.GPT2Config(use_cache=False, **settings)
    return text(config, transformers.GPT2LMHeadModel)


def resnet50(**settings: Any) -> Example:
    """ResNet-50 v1.5 (He et al. 2016; stride on the 3x3 convolution) with its classifier."""
    config = transformers.ResNetConfig(num_labels=1000, **settings)
    return vision(config, transformers.ResNetForImageClassification)


def vit_b16(**settings: Any) -> Example:
    """ViT-B/16 (Dosovitskiy et al. 2021) with its classifier."""
    config = transformers.ViTConfig(num_labels=1000, **settings)
    return vision(config, transformers.ViTForImageClassification)


def llama_1b(**settings: Any) -> Example:
    """Llama 3.2 1B: the published configuration, prefill without a cache."""
    config = transformers.LlamaConfig(
        vocab_size=128256,
        hidden_size=2048,
        intermediate_size=8192,
        num_hidden_layers=16,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=64,
        max_position_embeddings=131072,
        rms_norm_eps=1e-5,
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": 500000.0,
            "factor": 32.0,
            "high_freq_factor": 4.0,
            "low_freq_factor": 1.0,
            "original_max_position_embeddings": 8192,
        },
        tie_word_embeddings=True,
        use_cache=False,
        **settings,
    )
    return text(config, transformers.LlamaForCausalLM)


def mixtral(**settings: Any) -> Example:
    """Mixtral 8x7B (Jiang et al. 2024) with 2 of its 32 layers, prefill without a cache.

    Experts as batched matrix multiplications: transformers' default, grouped ones, has no ONNX
    form, and its loop over the experts that were hit depends on data.
    """
    config = transformers.MixtralConfig(
        num_hidden_layers=2, use_cache=False, experts_implementation="batched_mm", **settings
    )
    return text(config, transformers.MixtralForCausalLM)


def encoder_decoder(config: Any, architecture: Any, source: str, value: torch.Tensor) -> Example:
    """A sequence-to-sequence model with one encoder input and decoder_input_ids[batch, seq]."""
    return Example(
        build(config, architecture),
        {source: value, "decoder_input_ids": tokens(config.vocab_size, seq=12)},
        {source: (0, 1) if value.ndim == 2 else (0,), "decoder_input_ids": (0, 1)},
    )


def t5_small(**settings: Any) -> Example:
    """T5 small (Raffel et al. 2020), encoder and decoder with the language-model head.

    Eager attention: torch 2.13 cannot export T5's sdpa path with free dims.
    """
    config = transformers.T5Config(use_cache=False, attn_implementation="eager", **settings)
    ids = tokens(config.vocab_size)
    return encoder_decoder(config, transformers.T5ForConditionalGeneration, "input_ids", ids)


def whisper_tiny(**settings: Any) -> Example:
    """Whisper tiny (Radford et al. 2022): 30 s of mel frames in, decoder logits out."""
    config = transformers.WhisperConfig(
        d_model=384,
        encoder_layers=4,
        decoder_layers=4,
        encoder_attention_heads=6,
        decoder_attention_heads=6,
        encoder_ffn_dim=1536,
        decoder_ffn_dim=1536,
        use_cache=False,
        **settings,
    )
    mel = torch.zeros(2, config.num_mel_bins, 3000)
    architecture = transformers.WhisperForConditionalGeneration
    return encoder_decoder(config, architecture, "input_features", mel)


EXAMPLES: dict[str, Callable[..., Example]] = {
    "bert-base": bert_base,
    "distilbert": distilbert,
    "gpt2": gpt2,
    "resnet50": resnet50,
    "vit-b16": vit_b16,
    "whisper-tiny": whisper_tiny,
    "llama-1b": llama_1b,
    "t5-small": t5_small,
    "mixtral": mixtral,
}


def forget_weights(model: ir.Model) -> None:
    """Replace every large initializer by a reference to bytes that are nowhere, in place."""
    offset = 0
    for graph in model.graphs():
        for value in graph.initializers.values():
            tensor = value.const_value
            if tensor is not None and tensor.nbytes > 1024:
                value.const_value = ir.ExternalTensor(
                    location="omitted",
                    offset=offset,
                    length=tensor.nbytes,
                    dtype=tensor.dtype,
                    shape=tensor.shape,
                    name=value.name or "",
                )
                offset += tensor.nbytes


def forget_traces(model: ir.Model) -> None:
    """Drop exporter metadata other than scopes (stack traces name files of one machine)."""
    holders: list[Any] = [model, *model.graphs()]
    holders += [node for graph in model.graphs() for node in graph]
    holders += [value for graph in model.graphs() for node in graph for value in node.outputs]
    holders += [value for graph in model.graphs() for value in graph.initializers.values()]
    for holder in holders:
        for key in [key for key in holder.metadata_props if key not in KEPT_METADATA]:
            del holder.metadata_props[key]


def export(example: Example, target: Path, opset: int) -> None:
    """Write the example's graph to `target`, without its weights."""
    shapes = {name: dict.fromkeys(axes, DYNAMIC) for name, axes in example.dynamic.items()}
    program = torch.onnx.export(
        example.module,
        (),
        kwargs=example.inputs,
        dynamic_shapes=shapes,
        dynamo=True,
        opset_version=opset,
        verbose=False,
    )
    if program is None:
        raise RuntimeError("the exporter returned no program")
    forget_weights(program.model)
    forget_traces(program.model)
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "model.onnx"
        ir.save(program.model, whole)
        strip(whole, target)


def main() -> int:
    """Write the examples named on the command line; all of them by default."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(EXAMPLES)}")
    parser.add_argument("--opset", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(EXAMPLES)
    if unknown:
        parser.error(f"no example {', '.join(sorted(unknown))}; there are {', '.join(EXAMPLES)}")
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or EXAMPLES:
        target = arguments.out / f"{name}.onnx"
        export(EXAMPLES[name](), target, arguments.opset)
        print(f"{target}: {target.stat().st_size / 1e6:.2f} MB", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

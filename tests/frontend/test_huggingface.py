"""transformers configs: which class, which inputs, and the graph that comes of them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from energy_opt.errors import DimError, UsageError
from energy_opt.frontend import huggingface
from energy_opt.frontend.huggingface import modalities, prepare
from energy_opt.ir.dims import evaluate
from energy_opt.ir.workload import workload
from tests import zoo

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from energy_opt.frontend.pytorch.modules import load_module  # noqa: E402

_TINY = {
    "num_hidden_layers": 2,
    "hidden_size": 32,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "vocab_size": 101,
}


# -- the published models ------------------------------------------------------------------------------------------

# Parameters of the published checkpoints, as their model cards give them. openai-gpt, whisper and wav2vec2 count tied
# weights once and the untrained CTC head of 32 letters; deepseek_v3 is 671,026,419,200 less the 58 x 256 biases that
# steer its router, which are buffers here; detr has 91 classes and no object.
_PARAMETERS = {
    "bert": 109_482_240,
    "distilbert": 66_362_880,
    "gpt2": 124_439_808,
    "openai-gpt": 116_534_784,
    "llama-1b": 1_235_814_400,
    "llama-7b": 6_738_415_616,
    "llama-70b": 70_553_706_496,
    "mistral": 7_241_732_096,
    "gemma": 8_537_680_896,
    "qwen2": 7_615_616_512,
    "qwen3": 8_190_735_360,
    "mixtral": 46_702_792_704,
    "deepseek_v3": 671_026_419_200 - 58 * 256,
    "mamba": 129_135_360,
    "t5": 222_903_552,
    "bart": 406_291_456,
    "whisper": 37_760_640,
    "vit": 86_567_656,
    "swin": 28_288_354,
    "convnext": 28_589_128,
    "resnet": 25_557_032,
    "clip": 151_277_313,
}


@pytest.mark.parametrize("name", _PARAMETERS)
def test_the_module_has_the_parameters_of_the_published_model(name: str) -> None:
    module = prepare_full(name).module
    assert sum(parameter.numel() for parameter in module.parameters()) == _PARAMETERS[name]


def prepare_full(name: str) -> huggingface.Prepared:
    return zoo.prepare(name, small=False)


@pytest.mark.parametrize("name", zoo.NAMES)
def test_modules_are_on_the_meta_device_for_inference_and_keep_no_cache(name: str) -> None:
    made = zoo.prepare(name)
    module = made.module
    assert all(tensor.is_meta for tensor in (*module.parameters(), *module.buffers()))
    assert not module.training
    assert not getattr(module.config, "use_cache", False)
    assert all(tensor.is_meta for tensor in made.inputs.values())
    # Every input has a free batch, and every free axis is one of its tensor.
    for key, tensor in made.inputs.items():
        assert made.dynamic[key][0] == "batch"
        assert all(axis < tensor.dim() for axis in made.dynamic[key])


# -- the class and its inputs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "inputs"),
    [
        ("bert", "BertModel", {"input_ids": (1, 128)}),
        ("gpt2", "GPT2LMHeadModel", {"input_ids": (1, 128)}),
        ("llama-1b", "LlamaForCausalLM", {"input_ids": (1, 128)}),
        ("t5", "T5ForConditionalGeneration", {"input_ids": (1, 128), "decoder_input_ids": (1, 128)}),
        ("bart", "BartForConditionalGeneration", {"input_ids": (1, 128), "decoder_input_ids": (1, 128)}),
        # Two mel frames make one of the encoder's 60 positions.
        ("whisper", "WhisperForConditionalGeneration", {"input_features": (1, 16, 120), "decoder_input_ids": (1, 128)}),
        ("vit", "ViTForImageClassification", {"pixel_values": (1, 3, 32, 32)}),
        ("detr", "DetrForObjectDetection", {"pixel_values": (1, 3, 64, 64)}),
        ("wav2vec2", "Wav2Vec2ForCTC", {"input_values": (1, 16000)}),
        # CLIP reads at most 77 tokens.
        ("clip", "CLIPModel", {"input_ids": (1, 77), "pixel_values": (1, 3, 32, 32)}),
    ],
)  # fmt: skip
def test_the_usual_class_of_an_architecture_and_its_inputs(
    name: str, kind: str, inputs: dict[str, tuple[int, ...]]
) -> None:
    made = zoo.prepare(name)
    assert type(made.module).__name__ == kind
    assert {key: tuple(tensor.shape) for key, tensor in made.inputs.items()} == inputs
    for key, tensor in made.inputs.items():
        assert tensor.dtype == (torch.int64 if key.endswith("_ids") else torch.float32)


def test_free_axes_have_the_names_that_people_type() -> None:
    assert prepare("hf:resnet").dynamic == {"pixel_values": {0: "batch", 2: "height", 3: "width"}}
    assert prepare("hf:wav2vec2", _TINY).dynamic == {"input_values": {0: "batch", 1: "samples"}}
    assert prepare("hf:vit").dynamic == {"pixel_values": {0: "batch"}}
    assert zoo.prepare("bert").dynamic == {"input_ids": {0: "batch", 1: "seq"}}
    assert zoo.prepare("t5").dynamic == {
        "input_ids": {0: "batch", 1: "seq"},
        "decoder_input_ids": {0: "batch", 1: "decoder_seq"},
    }


def test_texts_are_no_longer_than_the_model_takes() -> None:
    made = prepare("hf:bert", {**_TINY, "max_position_embeddings": 16})
    assert tuple(made.inputs["input_ids"].shape) == (1, 16)


def test_sizes_of_images_and_sounds_that_a_model_does_not_fix_are_settings() -> None:
    made = prepare("hf:resnet", {"image_size": "64"})
    assert tuple(made.inputs["pixel_values"].shape) == (1, 3, 64, 64)
    made = prepare("hf:wav2vec2", {**_TINY, "samples": "4000"})
    assert tuple(made.inputs["input_values"].shape) == (1, 4000)


def test_images_of_a_model_of_text_and_images_stand_in_its_text() -> None:
    made = prepare(
        "hf:llava",
        {
            "text_config": {"model_type": "llama", **_TINY},
            "vision_config": {**_TINY, "model_type": "clip_vision_model", "image_size": 28, "patch_size": 14},
            "image_seq_length": 4,
        },
    )  # fmt: skip
    assert tuple(made.inputs["pixel_values"].shape) == (1, 3, 28, 28)
    assert tuple(made.inputs["input_ids"].shape) == (1, 4 + 128)


def test_images_of_a_video_have_frames() -> None:
    sizes = {"frames_per_clip": 4, "crop_size": 32, "num_hidden_layers": 1, "hidden_size": 32}
    made = prepare("hf:vjepa2", {**sizes, "num_attention_heads": 2})
    assert tuple(made.inputs["pixel_values_videos"].shape) == (1, 4, 3, 32, 32)
    assert made.notes == []


def test_architectures_choose_the_class(config: Callable[..., str]) -> None:
    path = config(model_type="bert", architectures=["BertForMaskedLM"], **_TINY)
    assert type(prepare(path).module).__name__ == "BertForMaskedLM"
    settings = {"architectures": '["BertForSequenceClassification"]', "num_labels": "7"}
    module = prepare(path, settings).module
    assert type(module).__name__ == "BertForSequenceClassification"
    assert module.classifier.out_features == 7


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ({}, "float32"),
        ({"torch_dtype": "bfloat16"}, "bfloat16"),
        ({"dtype": "float16"}, "float16"),
        ({"dtype": "auto"}, "float32"),
    ],
)
def test_weights_have_the_dtype_of_the_config(
    config: Callable[..., str], stated: dict[str, str], expected: str
) -> None:
    module = prepare(config(model_type="llama", **_TINY, **stated)).module
    assert {p.dtype for p in module.parameters()} == {getattr(torch, expected)}


def test_a_directory_is_read_as_its_config(config: Callable[..., str]) -> None:
    path = Path(config(model_type="bert", **_TINY))
    assert prepare(str(path.parent)).module.config.hidden_size == 32


def test_configs_and_models_in_memory() -> None:
    config = transformers.BertConfig(**_TINY)
    made = prepare(config, {"num_hidden_layers": 1})
    assert (made.module.config.num_hidden_layers, config.num_hidden_layers) == (1, 2)
    assert config.use_cache  # the config of the caller is left as it is
    with torch.device("meta"):
        model = transformers.BertModel(config)
    made = prepare(model)
    assert made.module is model
    assert list(made.inputs) == ["input_ids"]
    with pytest.raises(UsageError, match="already built"):
        prepare(model, {"num_hidden_layers": 1})


def test_quantized_weights_are_said_to_be_priced_as_stored_in_the_dtype(
    config: Callable[..., str],
) -> None:
    path = config(
        model_type="llama", torch_dtype="float16", quantization_config={"quant_method": "gptq"}, **_TINY
    )  # fmt: skip
    (note,) = prepare(path).notes
    assert "gptq" in note
    assert "float16" in note


# -- the graph -------------------------------------------------------------------------------------------------------


def test_a_config_becomes_a_graph_with_named_dims_and_modules() -> None:
    graph = huggingface.load_config("hf:llama", {**_TINY, "num_key_value_heads": "2"})
    assert graph.vocabulary == "aten"
    assert graph.source.startswith("hf:llama --set num_hidden_layers=2 ")
    assert {name: info.default for name, info in graph.dims.items()} == {"batch": 1, "seq": 128}
    assert graph.modules["model.layers.1.self_attn"] == "LlamaAttention"


def test_images_are_priced_with_the_text_they_stand_in() -> None:
    text = {"model_type": "llama", **_TINY}
    vision = {**_TINY, "model_type": "clip_vision_model", "image_size": 28, "patch_size": 14}
    settings = {"text_config": text, "vision_config": vision, "image_seq_length": 4}
    graph = huggingface.load_config("hf:llava", settings)
    assert "CLIPEncoderLayer" in graph.modules.values()
    assert "LlamaDecoderLayer" in graph.modules.values()
    assert any("stand for the image" in note for note in graph.notes)
    several = graph.at({"batch": 3})
    pixels = next(v for v in several.model.graph.inputs if v.name == "pixel_values")
    assert list(pixels.shape) == [3, 3, 28, 28]


_VISION = {
    "image_size": 28, "patch_size": 14, "num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 4,
    "intermediate_size": 64,
}  # fmt: skip


def test_tokens_of_an_image_are_as_many_as_its_patches() -> None:
    # (28 / 14) squared stand before a text of 128.
    vision = {**_VISION, "model_type": "siglip_vision_model"}
    text = {**_TINY, "model_type": "gemma", "head_dim": 8, "num_key_value_heads": 2}
    settings = {"text_config": text, "vision_config": vision, "projection_dim": 32}
    graph = huggingface.load_config("hf:paligemma", settings)
    assert graph.dims["seq"].default == 4 + 128
    assert "SiglipEncoderLayer" in graph.modules.values()


def _gemma3(tokens: int) -> dict[str, Any]:
    vision = {**_VISION, "model_type": "siglip_vision_model"}
    text = {**_TINY, "model_type": "gemma3_text", "head_dim": 8, "num_key_value_heads": 2}
    return {"text_config": text, "vision_config": vision, "mm_tokens_per_image": tokens}


def test_an_image_that_cannot_be_followed_is_left_out_and_said() -> None:
    graph = huggingface.load_config("hf:gemma3", _gemma3(4))
    assert [value.name for value in graph.model.graph.inputs] == ["input_ids", "pixel_values"]
    # 2 x 2 patches cannot be pooled into 4 x 4 tokens.
    graph = huggingface.load_config("hf:gemma3", _gemma3(16))
    assert [value.name for value in graph.model.graph.inputs] == ["input_ids"]
    assert graph.dims["seq"].default == 128
    (note,) = graph.notes
    assert note.startswith("priced without an image, since that part of the model cannot be")
    assert "stride should not be zero" in note
    assert "transformers/models" not in note


def test_an_image_whose_sizes_are_data_is_left_out_and_said() -> None:
    (note,) = prepare("hf:idefics3").notes
    assert note.startswith("priced without an image")


_SIZES = [
    # Odd, and such that every stride leaves a rest somewhere.
    ("resnet", [{"batch": 2, "height": 77, "width": 45}, {"batch": 1, "height": 131, "width": 93}]),
    ("convnext", [{"batch": 2, "height": 77, "width": 45}, {"batch": 3, "height": 67, "width": 101}]),
    ("detr", [{"batch": 2, "height": 77, "width": 45}, {"batch": 1, "height": 131, "width": 93}]),
    ("wav2vec2", [{"batch": 2, "samples": 4001}, {"batch": 1, "samples": 23457}]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "sizes"), _SIZES)
def test_free_sizes_of_images_and_sounds_equal_fixed_ones(
    name: str, sizes: list[dict[str, int]]
) -> None:
    graph = zoo.load(name)
    assert not graph.notes
    free = workload(graph).formulas
    made = zoo.prepare(name)
    ((key, example),) = made.inputs.items()
    for binding in sizes:
        shape = [*example.shape]
        shape[0] = binding["batch"]
        for axis, dim in prepared_axes(name).items():
            shape[axis] = binding[dim]
        tensors = {key: torch.empty(shape, device="meta")}
        fixed = workload(load_module(made.module, tensors, dynamic=False)).formulas
        for figure, formula in free.items():
            expected = int(fixed[figure])
            if (name, figure) == ("detr", "bytes_read"):
                # A mask made smaller is read in full as a formula, and only where it is looked at as a number.
                assert 0 <= evaluate(formula, binding) - expected <= 4 * math.prod(shape) / 3
            else:
                assert evaluate(formula, binding) == expected, (figure, binding)


def prepared_axes(name: str) -> dict[int, str]:
    model = zoo._MODELS[name]
    return next(iter(prepare(model.spec, model.small).dynamic.values()))


def test_sizes_that_cannot_be_free_are_fixed_without_a_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(modalities, "_ANY_IMAGE", frozenset({"vit"}))
    graph = zoo.load("vit")
    assert (list(graph.dims), graph.notes) == (["batch"], [])


# -- texts that are too long -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "sizes", "says"),
    [
        ("bert", {"seq": 4096}, "for 512 tokens (embeddings.position_embeddings); .* max_position_embeddings=4096"),
        ("bert", {"seq": [128, 600]}, "seq is 600"),
        ("gpt2", {"seq": 1025}, "1024 tokens (transformer.wpe)"),
        # Of the 512 rows two stand for the padding and what is before it.
        ("roberta", {"seq": 511}, "for 510 tokens .* max_position_embeddings=513"),
        ("bart", {"decoder_seq": 1025}, "decoder_seq is 1025, .* (model.decoder.embed_positions)"),
        ("whisper", {"decoder_seq": 449}, "max_target_positions=449"),
        ("clip", {"seq": 78}, "--set text_config.max_position_embeddings=78"),
    ],
)  # fmt: skip
def test_texts_beyond_learned_positions_are_refused(
    name: str, sizes: dict[str, Any], says: str
) -> None:
    graph = zoo.load(name)
    pattern = re.escape(says).replace(r"\ \.\*", ".*").replace(r"\.\*", ".*")
    with pytest.raises(DimError, match=pattern):
        graph.at(sizes)
    assert graph.at({"batch": 2, **dict.fromkeys(sizes, 64)}).notes == graph.notes


def test_texts_beyond_computed_positions_are_priced_and_said() -> None:
    graph = zoo.load("llama-7b")
    assert graph.at({"seq": 2048}).notes == []
    (note,) = graph.at({"seq": 2049}).notes
    assert note.startswith("seq = 2049 is beyond the 2048 positions")
    assert graph.at({"seq": 2049}) is graph.at({"seq": 2049})
    assert zoo.load("t5").at({"seq": 100_000}).notes == []  # relative positions have no end


def test_a_model_in_memory_keeps_its_cache_setting() -> None:
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**_TINY))
    graph = huggingface.load_config(model)
    assert model.config.use_cache
    # Ids in, logits out: a cache would be returned too. So it is at sizes that are a graph of their own.
    other = graph.at({"seq": 1})
    assert other is not graph
    assert len(graph.model.graph.outputs) == len(other.model.graph.outputs) == 1


def test_what_is_priced_without_a_part_of_the_model_says_so() -> None:
    (note,) = prepare("hf:qwen2_vl").notes
    assert note.startswith("priced without an image")
    (note,) = prepare("hf:qwen2_audio").notes
    assert note.startswith("priced without a sound")

"""transformers configs: settings by type, and refusals that say what to do."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from energy_opt.errors import EnergyOptError, ModelError, UsageError
from energy_opt.frontend import huggingface
from energy_opt.frontend.huggingface import prepare

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


_TINY = {
    "num_hidden_layers": 2,
    "hidden_size": 32,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "vocab_size": 101,
}


# -- settings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "settings", "field", "expected"),
    [
        ("hf:bert", {"num_hidden_layers": "3"}, "num_hidden_layers", 3),
        ("hf:bert", {"num_hidden_layers": 3}, "num_hidden_layers", 3),
        ("hf:bert", {"layer_norm_eps": "0"}, "layer_norm_eps", 0.0),
        ("hf:bert", {"hidden_act": "relu"}, "hidden_act", "relu"),
        ("hf:bert", {"is_decoder": "true"}, "is_decoder", True),
        ("hf:llama", {"num_key_value_heads": "none"}, "num_key_value_heads", 4),
        ("hf:gpt2", {"num_hidden_layers": "3"}, "n_layer", 3),  # the name that all configs share
        ("hf:llama", {"rope_parameters.rope_theta": "5e5"}, "rope_parameters", {"rope_theta": 5e5}),
        ("hf:resnet", {"depths": "[1, 1, 1, 1]"}, "depths", [1, 1, 1, 1]),
        ("hf:bert", {"dtype": "bf16"}, "dtype", "bfloat16"),
    ],
)  # fmt: skip
def test_settings_have_the_type_of_their_field(
    spec: str, settings: dict[str, Any], field: str, expected: Any
) -> None:
    tiny = {"n_embd": 32, "n_head": 4} if spec == "hf:gpt2" else _TINY
    tiny = {} if spec == "hf:resnet" else tiny
    found = getattr(prepare(spec, {**tiny, **settings}).module.config, field)
    found = str(found).removeprefix("torch.") if field == "dtype" else found
    if isinstance(found, dict):
        found = {key: found[key] for key in expected}
    assert (type(found), found) == (type(expected), expected)


def test_a_field_of_a_nested_config_is_set_by_its_path() -> None:
    settings = {
        f"{part}_config.{key}": value for part in ("text", "vision") for key, value in _TINY.items()
    }
    del settings["vision_config.vocab_size"]
    config = prepare("hf:clip", settings).module.config  # fmt: skip
    assert (config.text_config.hidden_size, config.vision_config.num_hidden_layers) == (32, 2)
    assert config.text_config.max_position_embeddings == 77  # the rest is as it was


def test_what_a_config_derives_follows_the_settings(config: Callable[..., str]) -> None:
    # The file states what it would have derived: 32 / 4 heads, as many keys as heads, a kind for each layer.
    path = config(
        model_type="qwen2", **_TINY, num_key_value_heads=4,
        layer_types=["full_attention", "sliding_attention"], use_sliding_window=True,
    )  # fmt: skip
    made = prepare(path, {"num_hidden_layers": "5", "max_window_layers": "1"})
    full, sliding = "full_attention", "sliding_attention"
    assert made.module.config.layer_types == [full, sliding, full, sliding, full]
    assert any("layer_types" in note for note in made.notes)
    path = config(model_type="llama", **_TINY, head_dim=8, num_key_value_heads=4)
    made = prepare(path, {"num_attention_heads": "2"})
    assert (made.module.config.head_dim, made.module.config.num_key_value_heads) == (16, 2)
    # What the file states otherwise, it means.
    path = config(model_type="llama", **_TINY, head_dim=24, num_key_value_heads=1)
    made = prepare(path, {"num_attention_heads": "2"})
    assert (made.module.config.head_dim, made.module.config.num_key_value_heads) == (24, 1)


def test_the_source_is_what_one_types() -> None:
    settings = {**_TINY, "architectures": ["BertForMaskedLM"]}
    made = prepare(
        "hf:bert", {"num_hidden_layers": "2", "architectures": settings["architectures"]}
    )
    assert made.source == (
        "hf:bert --set num_hidden_layers=2 --set 'architectures=[\"BertForMaskedLM\"]'"
    )


# -- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"hiden_size": "8"}, "did you mean hidden_size"),
        ({"seq": "8"}, "give it as --dim seq=N"),
        ({"zzz": "8"}, "its sizes are vocab_size, hidden_size"),
        ({"hidden_size": "abc"}, "takes a whole number, not 'abc'"),
        ({"num_hidden_layers": "2.5"}, "takes a whole number, not '2.5'"),
        ({"hidden_size": "100"}, "not a multiple of the number of attention heads (12)"),
        ({"num_hidden_layers": "-1"}, "cannot be negative"),
        ({"hidden_size": "0"}, "a number of heads is 0"),
        ({"num_hidden_layers": "1000000"}, "10000 layers are the most"),
        ({"num_labels": "1000000000"}, "1000000 are the most"),
        ({"hidden_size": "1200000000000"}, "overflow"),
        ({"hidden_size.x": "1"}, "holds no config of its own"),
        ({".": "1"}, "a name is missing"),
        ({"hidden_act": "nope"}, "'nope'"),
        ({"dtype": "manual_seed"}, "there are float32, float16"),
        ({"attn_implementation": "kernels-community/flash-attn"}, "never fetched"),
        ({"architectures": "GPT2Model"}, "is made from a GPT2Config"),
        ({"architectures": "BertForFoo"}, "does not have"),
        ({"architectures": "os"}, "does not have"),
    ],
)
def test_settings_that_make_no_model(settings: dict[str, str], says: str) -> None:
    with pytest.raises(EnergyOptError) as caught:
        prepare("hf:bert", settings)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_image_that_no_tensor_holds_is_refused() -> None:
    with pytest.raises(UsageError, match="pixel_values cannot be a tensor of 1 x 3 x 1000000000"):
        prepare("hf:vit", {"image_size": "1000000000", "num_hidden_layers": "1"})


def test_heads_that_cannot_share_keys_are_refused() -> None:
    with pytest.raises(UsageError, match=r"num_attention_heads \(32\) is not a multiple"):
        prepare("hf:llama", {"num_key_value_heads": "5"})


def test_a_field_of_a_nested_config_is_pointed_to() -> None:
    with pytest.raises(UsageError, match=r"there is .*text_config\.hidden_size"):
        prepare("hf:clip", {"hidden_size": "8"})


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("hf:lama", "did you mean hf:llama"),
        ("hf:", "a name is missing"),
        ("hf:meta-llama/Llama-3.1-8B", "download the model's config.json"),
        ("hf:qwertzuiop", "python:package.module:callable"),
    ],
)
def test_names_that_no_architecture_has(name: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        prepare(name)
    assert says in str(caught.value)


def test_a_name_of_the_hub_is_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    assert huggingface.is_config("meta-llama/Llama-3.1-8B")
    assert not huggingface.is_config("models/none")  # a file that is not there
    assert not huggingface.is_config("there/model.onnx")
    with pytest.raises(ModelError, match=r"config\.json and give its path"):
        prepare("meta-llama/Llama-3.1-8B")


def test_spelling_of_names_is_forgiven() -> None:
    assert type(prepare("hf:OpenAI_GPT").module).__name__ == "OpenAIGPTLMHeadModel"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "a config is a JSON object"),
        ("{}", "it has no model_type"),
        ('{"_class_name": "UNet2DConditionModel"}', "it has no model_type"),
        ('{"model_type": 5}', "it has no model_type"),
        ('{"model_type": "nobody_has_this"}', "has no architecture"),
        ('{"model_type": "llama", "auto_map": {"AutoModel": "a--b.C"}}', "never run here"),
        ('{"model_type": "llama", "hidden_size": "x"}', "expected int, got str"),
        ('{"model_type": "llama", "hidden_size": 1e400}', "expected int, got float"),
        ('{"model_type": "llama", "num_hidden_layers": -3}', "cannot be negative"),
        ('{"model_type": "llama", "_attn_implementation": "a/b"}', "never fetched"),
        ('{"model_type": "llama", "dtype": ["float32"]}', "there are float32"),
        ('{"model_type": "bert", "architectures": [5]}', "does not have"),
        ('{"model_type": "nougat"}', "Unrecognized model type for subconfig: donut_swin"),
    ],
)
def test_files_that_are_no_config_or_want_more_than_reading(
    config: Callable[..., str], text: str, says: str
) -> None:
    with pytest.raises(EnergyOptError) as caught:
        prepare(config(text))
    assert says in str(caught.value)


def test_directories_and_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no config\.json"):
        prepare(str(tmp_path))
    with pytest.raises(ModelError, match="no such file"):
        prepare(str(tmp_path / "none.json"))


def test_a_backbone_of_timm_is_built_without_it(
    config: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    # As facebook/detr-resnet-50 states it; 41.5 million parameters are what its paper gives (table 1).
    path = config(
        model_type="detr", use_timm_backbone=True, backbone="resnet50", use_pretrained_backbone=True,
        backbone_config=None, num_labels=91,
    )  # fmt: skip
    made = prepare(path)
    count = sum(parameter.numel() for parameter in made.module.parameters())
    assert count == pytest.approx(41.5e6, rel=0.005)
    assert "resnet50" in made.notes[0]


@pytest.mark.parametrize("missing", ["torch", "transformers"])
def test_without_the_extra_one_sentence_says_what_to_install(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(UsageError) as caught:
        huggingface.load_config("hf:bert")
    assert missing in str(caught.value)
    assert "pip install 'energy-opt[torch]'" in str(caught.value)


def test_nothing_is_left_changed_for_the_rest_of_the_process() -> None:
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE, torch.get_default_dtype(), torch.get_default_device()
    prepare("hf:llama", {**_TINY, "dtype": "bfloat16"})
    with pytest.raises(EnergyOptError):
        prepare("hf:llama", {**_TINY, "vocab_size": "0", "hidden_act": "nope"})
    assert (
        constants.HF_HUB_OFFLINE,
        torch.get_default_dtype(),
        torch.get_default_device(),
    ) == before

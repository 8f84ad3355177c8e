"""Free dimensions: how they are named, unified and bound."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import numpy_helper, parser

import energy_opt as eo
from energy_opt.errors import DimError, ModelError
from tests.frontend.written import text_model


def test_each_inputs_own_batch_symbol_becomes_one() -> None:
    graph = eo.load(
        text_model(
            """g (int64[s10, s11] input_ids, int64[s86, s11] token_type_ids) => (int64[a, b] y)
            { y = Add(input_ids, token_type_ids) }"""
        )
    )
    assert list(graph.dims) == ["batch", "seq"]
    assert set(graph.dims["batch"].aliases) == {"s10", "s86"}
    assert any("the same size as input_ids axis 0: the batch" in note for note in graph.notes)


@pytest.mark.parametrize(
    ("inputs", "dims"),
    [
        # words that say the same are one size; letters, and words that differ, are two
        ("float[batch, 4] x, float[batch_size, 4] z", ["batch"]),
        ("float[batch, seq, seq_len] x", ["batch", "seq", "seq_len"]),  # but not of one input
        ("float[N, 4] x, float[b, 4] z", ["batch", "b"]),
        ("int64[text_batch, 4] x, float[image_batch, 3, 8, 8] z", ["text_batch", "image_batch"]),
        ("float[s1, 3, s2, s3, s4] x", ["batch", "depth", "height", "width"]),
        ("float[s1, 3, s2, s3] x", ["batch", "height", "width"]),
        # one past, though each key and value has a symbol of its own; the mask covers it and the new tokens
        (
            "int64[s1, s2] input_ids, int64[s3, s4] attention_mask, "
            "float[s1, 2, s5, 8] past_0_key, float[s1, 2, s6, 8] past_0_value",
            ["batch", "seq", "past"],
        ),
        (
            "int64[b, seq] input_ids, int64[b, total_sequence_length] mask, float[b, 2, past, 8] k",
            ["batch", "seq", "past"],
        ),
        # a mask's total, where the new tokens come without a telling name
        (
            "float[b, seq, 8] x, int64[b, total_length] mask, float[b, 2, past, 8] k",
            ["batch", "seq", "past"],
        ),
        # the encoder's keys are as long as its input, not as the past
        (
            "int64[s1, 1] ids, float[s1, 2, s5, 8] past_decoder_key, float[s1, 2, s6, 8] past_encoder_key",
            ["batch", "past", "encoder_seq"],
        ),
    ],
)
def test_names_and_roles(inputs: str, dims: list[str]) -> None:
    proto = text_model(f"g ({inputs}) => (float y) {{ y = Constant<value_float = 1.0>() }}")
    assert list(eo.load(proto).dims) == dims


def test_a_shared_cache_is_a_buffer_and_its_total_the_keys() -> None:
    graph = eo.load(
        parser.parse_model(
            """<ir_version: 9, opset_import: ["" : 20, "com.microsoft" : 1]>
            g (float[b, 1, 64] x, int64[b, total] mask, float[b, 1, room, 32] k, float[b, 1, room, 32] v, int32[b] n)
              => (float[b, 1, 64] y, float[b, 1, room, 32] pk, float[b, 1, room, 32] pv)
              <int64 one = {1}> {
              s = Shape(mask)  t = Gather(s, one)  t32 = Cast<to = 6>(t)
              key = Slice(x, zero, half, two)
              y, pk, pv = com.microsoft.GroupQueryAttention<num_heads = 2, kv_num_heads = 1>(
                x, key, key, k, v, n, t32) }""".replace(
                "<int64 one = {1}>",
                "<int64 one = {1}, int64[1] zero = {0}, int64[1] half = {32}, int64[1] two = {2}>",
            )
        )
    )
    estimate = eo.analyze(graph, b=1, total=10, room=1000)
    (attention,) = (op for op in estimate.ops() if op["kind"] == "attention")
    assert attention["macs"] == 2 * 2 * 10 * 32  # two heads meet ten keys of 32, twice
    assert attention["bytes_written"] == 4 * (64 + 2 * 32)  # the result and one new key and value


def test_symbols_that_an_operator_forces_to_be_equal_become_one() -> None:
    graph = eo.load(
        text_model(
            """g (int64[s10, s11] input_ids, int64[s10, s99] attention_mask) => (int64[a, b] y)
            { y = Mul(input_ids, attention_mask) }"""
        )
    )
    assert list(graph.dims) == ["batch", "seq"]
    assert "s99" in graph.dims["seq"].aliases


def test_the_files_names_and_ours_both_bind() -> None:
    graph = eo.load(
        text_model("g (float[batch_size, s1, 4] x) => (float[n, m, 4] y) { y = Relu(x) }")
    )
    assert graph.bind({"batch_size": 3, "s1": 5}) == graph.bind({"batch": 3, "seq": 5})
    with pytest.raises(DimError, match="twice"):
        graph.bind({"batch": 3, "batch_size": 4})


def test_an_unknown_dim_is_answered_with_those_there_are() -> None:
    graph = eo.load(text_model("g (float[N, 4] x) => (float[N, 4] y) { y = Relu(x) }"))
    with pytest.raises(DimError, match=r"no dim 'bacth'; it has: batch \(x axis 0\)"):
        graph.bind({"bacth": 3})


@pytest.mark.parametrize("size", [0, -1, 1.5, "8", None, True, [], [1, 0], [1.5]])
def test_sizes_that_cannot_be_are_refused(size: object) -> None:
    graph = eo.load(text_model("g (float[N, 4] x) => (float[N, 4] y) { y = Relu(x) }"))
    with pytest.raises(DimError, match="batch"):
        graph.bind({"batch": size})


def test_a_fixed_model_says_that_it_has_no_dims() -> None:
    graph = eo.load(text_model("g (float[2, 4] x) => (float[2, 4] y) { y = Relu(x) }"))
    with pytest.raises(DimError, match="no free dims"):
        graph.bind({"batch": 3})


def test_declared_expressions_are_kept() -> None:
    graph = eo.load(
        text_model(
            """g (float[batch, past, 4] cache, float[batch, 1, 4] x) => (float[batch, n, 4] y)
            { y = Concat <axis = 1> (cache, x) }"""
        )
    )
    shape = next(graph.nodes()).outputs[0].shape
    assert shape is not None
    assert [str(dim) for dim in shape.dims] == ["batch", "past + 1", "4"]


def test_absurd_dim_names_are_names_only() -> None:
    proto = text_model("g (float[N, 4] x) => (float[N, 4] y) { y = Relu(x) }")
    for text in ("a**99999999", "__import__('os')", "9" * 5000 + "*x", "x" * 100_000, "\x1b[31m"):
        proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param = text
        proto.graph.output[0].type.tensor_type.shape.dim[0].dim_param = text
        graph = eo.load(proto)
        assert len(graph.dims) == 1
        assert next(iter(graph.dims)).isidentifier()


def test_negative_sizes_are_refused() -> None:
    proto = text_model("g (float[2, 4] x) => (float[2, 4] y) { y = Relu(x) }")
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -2
    with pytest.raises(ModelError, match=r"'x' declares size -2 on axis 0"):
        eo.load(proto)


def test_a_size_that_the_weights_ask_for_is_the_default() -> None:
    proto = text_model("g (float[N, K] x) => (float[N, 4] y) { y = MatMul(x, w) }")
    proto.graph.initializer.append(numpy_helper.from_array(np.zeros((8, 4), np.float32), "w"))
    graph = eo.load(proto)
    assert graph.bind({})["K"] == 8
    assert any("K (x axis 1) is 8 unless given" in note for note in graph.notes)


def test_a_name_of_ours_stays_unambiguous_where_the_file_has_it_for_another_size() -> None:
    graph = eo.load(
        text_model("g (float[sequence_length, seq] x) => (float[a, b] y) { y = Relu(x) }")
    )
    assert list(graph.dims) == ["seq", "seq_2"]
    sizes = graph.bind({"sequence_length": 3})
    assert graph.bind(sizes) == sizes == {"seq": 3, "seq_2": 1}

"""Shape inference on small written models, and on real ones: what exporters do with shapes."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx_ir
import pytest
import sympy

from energy_opt.ir import shapes
from energy_opt.ir.dims import symbol
from tests.ir.written import BATCH, SEQ, H, W, dims, model, output

# Expected shapes are worked out by hand from the operators' specifications.
TABLE = [
    # what exporters emit for view(b, s, 12, 64): shape -> gather -> unsqueeze -> concat -> reshape
    (
        """g (float[batch, seq, 768] x) => (float y) {
             s = Shape(x) zero = Constant<value_int = 0>() one = Constant<value_int = 1>()
             b = Gather(s, zero) n = Gather(s, one) axes = Constant<value_ints = [0]>()
             b1 = Unsqueeze(b, axes) n1 = Unsqueeze(n, axes) heads = Constant<value_ints = [12, -1]>()
             t = Concat<axis = 0>(b1, n1, heads) y = Reshape(x, t) }""",
        [BATCH, SEQ, 12, 64],
    ),
    # 0 copies, -1 takes the rest: batch*seq*768 / (batch * 4) = 192*seq
    (
        """g (float[batch, seq, 768] x) => (float y) {
             t = Constant<value_ints = [0, 4, -1]>() y = Reshape(x, t) }""",
        [BATCH, 4, 192 * SEQ],
    ),
    # merging axes: batch*seq rows
    (
        """g (float[batch, seq, 768] x) => (float y) {
             t = Constant<value_ints = [-1, 768]>() y = Reshape(x, t) }""",
        [BATCH * SEQ, 768],
    ),
    # the one size that cannot be known follows from the others: 24 / (2 * 3) = 4
    (
        """g (float[2, 3, 4] x, int64[1] n) => (float y) {
             t = Constant<value_ints = [2, 3]>() u = Concat<axis = 0>(t, n) y = Reshape(x, u) }""",
        [2, 3, 4],
    ),
    # position ids: the first seq of 512
    (
        """g (int64[batch, seq] x) => (int64 y) {
             table = ConstantOfShape(two) two = Constant<value_ints = [1, 512]>()
             n = Shape<start = 1>(x) zero = Constant<value_ints = [0]>() axis = Constant<value_ints = [1]>()
             y = Slice(table, zero, n, axis) }""",
        None,  # table is used before it is made: nothing is known, nothing crashes
    ),
    (
        """g (int64[batch, seq] x) => (float y) {
             two = Constant<value_ints = [1, 512]>() table = ConstantOfShape(two)
             n = Shape<start = 1>(x) zero = Constant<value_ints = [0]>() axis = Constant<value_ints = [1]>()
             y = Slice(table, zero, n, axis) }""",
        [1, sympy.Min(512, SEQ)],
    ),
    # x[:, 1:] of seq positions; x[:, :-1] likewise
    (
        """g (float[batch, seq] x) => (float y) {
             st = Constant<value_ints = [1]>() en = Constant<value_ints = [9223372036854775807]>()
             ax = Constant<value_ints = [1]>() y = Slice(x, st, en, ax) }""",
        [BATCH, SEQ - 1],
    ),
    (
        """g (float[batch, seq] x) => (float y) {
             st = Constant<value_ints = [0]>() en = Constant<value_ints = [-1]>()
             ax = Constant<value_ints = [1]>() y = Slice(x, st, en, ax) }""",
        [BATCH, SEQ - 1],
    ),
    # every second element of 7 from 1 to 6: 1, 3, 5
    (
        """g (float[7] x) => (float y) {
             st = Constant<value_ints = [1]>() en = Constant<value_ints = [6]>()
             ax = Constant<value_ints = [0]>() by = Constant<value_ints = [2]>() y = Slice(x, st, en, ax, by) }""",
        [3],
    ),
    # slices of one axis are fused by concat: seq + seq
    ("g (float[batch, seq] x) => (float y) { y = Concat<axis = 1>(x, x) }", [BATCH, 2 * SEQ]),
    # range(0, seq), compared with itself as a column: a causal mask
    (
        """g (int64[batch, seq] x) => (bool y) {
             n1 = Shape<start = 1>(x) ax = Constant<value_ints = [0]>() n = Squeeze(n1, ax)
             zero = Constant<value_int = 0>() one = Constant<value_int = 1>() r = Range(zero, n, one)
             c = Constant<value_ints = [1]>() col = Unsqueeze(r, c) y = LessOrEqual(r, col) }""",
        [SEQ, SEQ],
    ),
    # interpolate by 2 as older exporters write it: sizes = floor(cast(shape) * 2)
    (
        """g (float[batch, 3, H, W] x) => (float y) {
             s = Shape<start = 2>(x) f = Cast<to = 1>(s) two = Constant<value_float = 2.0>() m = Mul(f, two)
             fl = Floor(m) i = Cast<to = 7>(fl) head = Shape<start = 0, end = 2>(x)
             sizes = Concat<axis = 0>(head, i) none = Constant<value_floats = [1.0]>() y = Resize(x, , , sizes) }""",
        [BATCH, 3, 2 * H, 2 * W],
    ),
    # by constant scales: floor(H / 2)
    (
        """g (float[batch, 3, H, 6] x) => (float y) {
             scales = Constant<value_floats = [1.0, 1.0, 0.5, 1.5]>() y = Resize(x, , scales) }""",
        [BATCH, 3, sympy.floor(H / 2), 9],
    ),
    # expand(-1, 4, -1) as exporters write it: where(shape == -1, 1, shape)
    (
        """g (float[batch, 1, 5] x) => (float y) {
             t = Constant<value_ints = [-1, 4, -1]>() minus = Constant<value_int = -1>()
             n = Constant<value_ints = [3]>()
             ones = ConstantOfShape<value = int64[1] {1}>(n) eq = Equal(t, minus) w = Where(eq, ones, t)
             y = Expand(x, w) }""",
        [BATCH, 4, 5],
    ),
    # the same with a symbolic target: a size is never -1
    (
        """g (float[1, 1, 5] x, float[batch, 2] like) => (float y) {
             b = Shape<start = 0, end = 1>(like) rest = Constant<value_ints = [4, -1]>() t = Concat<axis = 0>(b, rest)
             minus = Constant<value_int = -1>() n = Constant<value_ints = [3]>()
             ones = ConstantOfShape<value = int64[1] {1}>(n) eq = Equal(t, minus) w = Where(eq, ones, t)
             y = Expand(x, w) }""",
        [BATCH, 4, 5],
    ),
    # numel counted by ReduceProd of a shape: batch*seq elements
    (
        """g (float[batch, seq] x) => (float y) {
             s = Shape(x) n = ReduceProd<keepdims = 1>(s) y = ConstantOfShape(n) }""",
        [BATCH * SEQ],
    ),
    # a convolution of kernel 7, stride 2, padding 3 over H: floor((H + 6 - 7) / 2) + 1
    (
        """g (float[batch, 3, H, 224] x, float[64, 3, 7, 7] w) => (float y) {
             y = Conv<strides = [2, 2], pads = [3, 3, 3, 3]>(x, w) }""",
        [BATCH, 64, sympy.floor(H / 2 - sympy.Rational(1, 2)) + 1, 112],
    ),
    # SAME padding: ceil(H / 2), written with floor
    (
        """g (float[1, 1, H, 5] x) => (float y) {
             y = MaxPool<kernel_shape = [3, 3], strides = [2, 2], auto_pad = "SAME_UPPER">(x) }""",
        [1, 1, sympy.floor(H / 2 + sympy.Rational(1, 2)), 3],
    ),
    # ceil_mode: windows of 2, stride 2 over 5: starts 0, 2, 4, the last one half outside
    (
        "g (float[1, 1, 5, 5] x) => (float y) { y = MaxPool<kernel_shape=[2,2], strides=[2,2], ceil_mode=1>(x) }",
        [1, 1, 3, 3],
    ),
    # ... but none that starts in the padding behind: windows of 1, stride 2 over 4 padded by 1 behind start at 0, 2
    (
        "g (float[1, 1, 4] x) => (float y) { y = MaxPool<kernel_shape=[1], strides=[2], pads=[0,1], ceil_mode=1>(x) }",
        [1, 1, 2],
    ),
    # a stride-2 transposed convolution: (H - 1)*2 + 4 - 2 = 2*H
    (
        """g (float[batch, 8, H, 5] x, float[8, 4, 4, 4] w) => (float y) {
             y = ConvTranspose<strides = [2, 2], pads = [1, 1, 1, 1]>(x, w) }""",
        [BATCH, 4, 2 * H, 10],
    ),
    # 5 in 2 pieces: 3 and 2 (from opset 18 on)
    ("g (float[5] x) => (float y, float z) { z, y = Split<num_outputs = 2>(x) }", [2]),
    # keys grow by what is new: past + seq
    (
        """g (float[batch, 8, past, 64] a, float[batch, 8, seq, 64] b) => (float y) {
             y = Concat<axis = 2>(a, b) }""",
        [BATCH, 8, symbol("past") + SEQ, 64],
    ),
    # a scan output has one slice per trip; the count is constant
    (
        """g (float[3] x, bool go) => (float v, float[n, 3] y) {
             m = Constant<value_int = 4>()
             v, y = Loop(m, go, x) <body = b (int64 i, bool c, float[3] p) => (bool d, float[3] q, float[3] r) {
               d = Identity(c) q = Relu(p) r = Relu(q) }> }""",
        [3],
    ),
    # if: the branch that cannot be taken may make no sense (exporters write squeeze so)
    (
        """g (float[batch, 2] x) => (float y) {
             s = Shape<start = 1>(x) one = Constant<value_ints = [1]>() c1 = Equal(s, one)
             ax = Constant<value_ints = [0]>() c = Squeeze(c1, ax)
             y = If(c) <then_branch = t () => (float a) { one2 = Constant<value_ints = [1]>() a = Squeeze(x, one2) },
                        else_branch = e () => (float b) { b = Identity(x) }> }""",
        [BATCH, 2],
    ),
    # contrib operators come from the library behind: attention keeps batch and length
    (
        """g (float[batch, seq, 768] x, float[768, 2304] w, float[2304] b) => (float y) {
             y = com.microsoft.Attention<num_heads = 12>(x, w, b) }""",
        [BATCH, SEQ, 768],
    ),
    # mel filters: 80 of them over half of 400 samples
    (
        """g () => (float y) {
             n = Constant<value_int = 80>() d = Constant<value_int = 400>() r = Constant<value_int = 16000>()
             lo = Constant<value_float = 0.0>() hi = Constant<value_float = 8000.0>()
             y = MelWeightMatrix(n, d, r, lo, hi) }""",
        [201, 80],
    ),
    # 400-sample frames every 160 of seq samples, half spectrum
    (
        """g (float[batch, seq, 1] x) => (float y) {
             step = Constant<value_int = 160>() n = Constant<value_int = 400>() y = STFT(x, step, , n) }""",
        [BATCH, sympy.floor(SEQ / 160 - sympy.Rational(5, 2)) + 1, 201, 2],
    ),
    # an identity does not forget a sequence: at(split(x), 1)
    (
        """g (float[6, seq] x) => (float y) {
             n = Constant<value_ints = [2, 4]>() s = SplitToSequence<axis = 0>(x, n) t = Identity(s)
             one = Constant<value_int = 1>() y = SequenceAt(t, one) }""",
        [4, SEQ],
    ),
    # one tensor of [seq, 8] per batch, collected and stacked: what a scripted loop over time becomes
    (
        """g (float[batch, seq, 8] x) => (float y) {
             s = Shape(x) zero = Constant<value_int = 0>() n = Gather(s, zero)
             go = Constant<value = bool {1}>() empty = SequenceEmpty()
             all = Loop(n, go, empty) <body = b (int64 i, bool c, seq(float[]) l) => (bool d, seq(float[]) m) {
               d = Identity(c) t = Gather(x, i) m = SequenceInsert(l, t) }>
             y = ConcatFromSequence<axis = 0, new_axis = 1>(all) }""",
        [BATCH, SEQ, 8],
    ),
    # a type-less zero point: ORT's QGemm is b' of 5 columns
    (
        """g (uint8[batch, 8] a, float s, uint8 z, int8[5, 8] b, float t, int8 u) => (float y) {
             y = com.microsoft.QGemm<transB = 1>(a, s, z, b, t, u) }""",
        [BATCH, 5],
    ),
    # a cache of 10 and 3 new keys
    (
        """g (float[batch, 3, 64] q, float[batch, 2, 10, 32] past) => (float y) {
             o, y, v = com.microsoft.MultiHeadAttention<num_heads = 2>(q, q, q, , , , past, past) }""",
        [BATCH, 2, 13, 32],
    ),
    # packed keys and values; values are twice as wide as keys
    (
        """g (float[batch, seq, 64] q, float[batch, 9, 64] k, float[batch, 9, 128] v) => (float y) {
             y = com.microsoft.MultiHeadAttention<num_heads = 2>(q, k, v) }""",
        [BATCH, SEQ, 128],
    ),
    # the total is the mask's width, which is beyond the buffer or not
    (
        """g (float[batch, seq, 64] q, float[batch, seq, 32] k, float[batch, 1, H, 32] past, int32[batch] n,
             int64[batch, W] mask) => (float y) {
             s = Shape(mask) one = Constant<value_int = 1>() t = Gather(s, one) total = Cast<to = 6>(t)
             o, y, v = com.microsoft.GroupQueryAttention<num_heads = 2, kv_num_heads = 1>(
               q, k, k, past, past, n, total) }""",
        [BATCH, 1, sympy.Max(H, W), 32],
    ),
]


@pytest.mark.parametrize(("text", "expected"), TABLE, ids=range(len(TABLE)))
def test_shapes(text: str, expected: list[object] | None) -> None:
    assert output(text) == expected


def test_old_opsets() -> None:
    # before opset 10 slice, before 13 squeeze and before 10 top-k had attributes
    text = """g (float[4, 1, 10] x) => (float y, int64 i) {
                s = Slice<axes = [2], starts = [2], ends = [-1]>(x) q = Squeeze<axes = [1]>(s)
                t = Sum(q, q) y, i = TopK<k = 3, axis = 1>(t) }"""
    assert output(text, opset=7) == [4, 3]


def test_a_loops_trip_count_is_told() -> None:
    text = """g (float[3] x, bool go, int64 n) => (float v) {
                m = Constant<value_int = 4>()
                u = Loop(m, go, x) <body = b (int64 i, bool c, float[3] p) => (bool d, float[3] q) {
                  d = Identity(c) q = Relu(p) }>
                v = Loop(n, go, u) <body = e (int64 i2, bool c2, float[3] p2) => (bool d2, float[3] q2) {
                  d2 = Identity(c2) q2 = Relu(p2) }> }"""
    parsed = model(text)
    shapes.infer(parsed)
    first, second = (node for node in parsed.graph if node.op_type == "Loop")
    assert shapes.trip_count(first) == 4
    count = shapes.trip_count(second)
    assert isinstance(count, sympy.Symbol)
    assert shapes.minted(parsed)[count.name].origin == "trip"


def test_what_a_loop_appends_each_trip_adds_up() -> None:
    # 5 rows, 2 more in each of 7 trips: 19
    text = """g (float[5, 3] x, float[2, 3] more, bool go) => (float y) {
                m = Constant<value_int = 7>()
                y = Loop(m, go, x) <body = b (int64 i, bool c, float[k, 3] p) => (bool d, float[j, 3] q) {
                  d = Identity(c) q = Concat<axis = 0>(p, more) }> }"""
    assert output(text) == [19, 3]


def test_data_dependent_sizes_become_named_symbols() -> None:
    parsed = model("g (float[batch, 3] x) => (int64 y, int64 z) { y = NonZero(x) z = NonZero(x) }")
    shapes.infer(parsed)
    first, second = (dims(value) for value in parsed.graph.outputs)
    assert first is not None
    assert second is not None
    assert first[0] == second[0] == 2
    assert (
        first[1] != second[1]
    )  # equal inputs, but the two need not be the same size for all we know
    assert {shapes.minted(parsed)[str(d)].origin for d in (first[1], second[1])} == {"data"}
    assert str(first[1]).isidentifier()


def test_unnamed_input_axes_become_named_symbols() -> None:
    parsed = model("g (float[N] x) => (float y) { y = Relu(x) }")
    parsed.graph.inputs[0].shape = onnx_ir.Shape([None, "batch size", 3])
    shapes.infer(parsed)
    assert dims(parsed.graph.outputs[0]) == [symbol("x_dim_0_0"), symbol("batch_size"), 3]
    assert shapes.minted(parsed)["x_dim_0_0"].origin == "input"


def test_weights_without_data_count() -> None:
    parsed = model("g (float[batch, 8] x, float[8, 5] w) => (float y) { y = MatMul(x, w) }")
    weight = parsed.graph.inputs.pop()
    parsed.graph.initializers.add(weight)
    shapes.infer(parsed)
    assert dims(parsed.graph.outputs[0]) == [BATCH, 5]


def test_known_values_are_followed() -> None:
    text = """g (float[batch, seq] x) => (int64 y) {
                s = Shape(x) two = Constant<value_ints = [2, 3]>() m = Mul(s, two) y = Concat<axis = 0>(m, two) }"""
    parsed = model(text)
    shapes.infer(parsed)
    assert shapes.known_values(parsed.graph.outputs[0]) == (2 * BATCH, 3 * SEQ, 2, 3)
    assert shapes.known_values(parsed.graph.inputs[0]) is None


# --- equalities ---


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("g (float[a, 4] x, float[b, 4] y) => (float z) { z = Add(x, y) }", ("a", "b")),
        ("g (float[4, a] x, float[b, 4] y) => (float z) { z = MatMul(x, y) }", ("a", "b")),
        (
            "g (float[a, 4] x, float[b, 2] y) => (float z) { z = Concat<axis = 1>(x, y) }",
            ("a", "b"),
        ),
        # [a, s] viewed as [b, -1] is meant for a = b
        (
            """g (float[a, s] x, float[b, 2] y) => (float z) {
                 n = Shape<start = 0, end = 1>(y) m = Constant<value_ints = [-1]>() t = Concat<axis = 0>(n, m)
                 z = Reshape(x, t) }""",
            ("a", "b"),
        ),
    ],
)
def test_equalities(text: str, pair: tuple[str, str]) -> None:
    parsed = model(text)
    shapes.infer(parsed)
    names = [{str(left), str(right)} for left, right in shapes.equalities(parsed)]
    assert names == [set(pair)]


def test_requirements_name_the_number_that_a_weight_forces() -> None:
    parsed = model("g (float[batch, n] x, float[768, 4] w) => (float y) { y = MatMul(x, w) }")
    shapes.infer(parsed)
    assert shapes.requirements(parsed) == [(symbol("n"), 768)]
    assert shapes.equalities(parsed) == []


# --- real models: a symbolic graph evaluated equals the graph inferred with numbers ---


@pytest.mark.parametrize(
    "name", ["bert-base", "gpt2", "llama-1b", "mixtral", "resnet50", "whisper-tiny"]
)
def test_symbolic_shapes_evaluate_to_the_concrete_ones(name: str, examples: Path) -> None:
    proto = onnx.load(examples / f"{name}.onnx", load_external_data=False)
    del proto.graph.value_info[:]
    symbolic, concrete = (onnx_ir.from_proto(proto) for _ in range(2))
    for parsed in (symbolic, concrete):
        for node in parsed.graph.all_nodes():
            for value in node.outputs:
                value.shape = None
    sizes: dict[str, int] = {}
    by_axis = [2, 7]  # batches are 2, lengths 7, in all inputs
    for value in concrete.graph.inputs:
        numbers = [
            dim if isinstance(dim, int) else sizes.setdefault(str(dim), by_axis[min(axis, 1)])
            for axis, dim in enumerate(value.shape or ())
        ]
        value.shape = onnx_ir.Shape(numbers)
    shapes.infer(symbolic)
    shapes.infer(concrete)
    binding = {symbol(name): sympy.Integer(size) for name, size in sizes.items()}
    compared = 0
    for ours, numbers_ in zip(symbolic.graph, concrete.graph, strict=True):
        for left, right in zip(ours.outputs, numbers_.outputs, strict=True):
            a, b = dims(left), dims(right)
            assert (a is None) == (b is None), left.name
            evaluated = [d if isinstance(d, int) else d.xreplace(binding) for d in a or ()]  # type: ignore[attr-defined]
            assert evaluated == b, (left.name, a, b)
            compared += 1
    assert compared > 100

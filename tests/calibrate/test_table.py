from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from energy_opt.calibrate import table
from energy_opt.calibrate.columns import TableError
from energy_opt.calibrate.samples import Samples

MB = 2**20


def one(tmp_path: Path, text: str) -> Samples:
    path = tmp_path / "one.csv"
    path.write_text(text.replace(" ", ""), encoding="utf-8")
    (samples,) = table.read(path)
    return samples


# header, row, then matmul FLOPs, other FLOPs, bytes read, bytes written of one execution
COUNTED = [
    # 2*4*8*16; x 4*16 and w 16*8, y 4*8, of 4 bytes
    ("kind,dtype,m,n,k", "matmul,float32,4,8,16", 1024, 0, 4 * (64 + 128), 4 * 32),
    # and a bias: 4*8 sums, 8 more elements read
    ("kind,op,dtype,m,n,k,bias", "matmul,linear,fp32,4,8,16,1", 1024, 32, 4 * (64 + 128 + 8), 128),
    # three of them, in 2 bytes
    ("kind,op,dtype,b,m,n,k", "matmul,bmm,fp16,3,4,8,16", 3072, 0, 2 * 3 * (64 + 128), 2 * 3 * 32),
    # operands of one byte, the result in 2
    ("kind,dtype,m,n,k", "matmul,fp8,4,8,16", 1024, 0, 64 + 128, 2 * 32),
    ("kind,dtype,m,n,k", "matmul,int8,4,8,16", 1024, 0, 64 + 128, 4 * 32),
    ("kind,dtype,m,n,k,out_dtype", "matmul,int8,4,8,16,int8", 1024, 0, 64 + 128, 32),
    # 5x5 pixels by 3x3 without padding: 3x3 positions of 4 channels, 2 * 3*3 * 2 each
    ("kind,dtype,batch,in_channels,out_channels,height,width,kernel", "conv,fp32,1,2,4,5,5,3",
     2 * 9 * 4 * 18, 0, 4 * (50 + 4 * 18), 4 * 36),
    # padded and in steps of 2: 3x3 positions again; two groups: half the channels each
    ("kind,dtype,batch,in_channels,out_channels,height,width,kernel,stride,padding,groups",
     "conv,fp32,1,2,4,5,5,3,2,1,2", 2 * 9 * 4 * 9, 0, 4 * (50 + 4 * 9), 4 * 36),
    # along one axis: 3 positions of 5 with 3x1 on an image 5 high, 1 wide
    ("kind,dtype,batch,in_channels,out_channels,height,width,kernel", "conv,fp32,1,2,4,5,1,3x1",
     2 * 3 * 4 * 6, 0, 4 * (10 + 4 * 6), 4 * 12),
    # 2 heads, 3 queries on 5 keys of width 8: 2 products of 2*3*5*8 each head; scale and softmax, 6 per score
    ("kind,dtype,batch,heads,q,kv,d", "attention,fp32,1,2,3,5,8", 2 * 2 * 2 * 3 * 5 * 8, 6 * 2 * 15,
     4 * (2 * 3 * 8 + 2 * 2 * 5 * 8), 4 * 48),
    # 4 query heads share 1 of keys, whose cache has one byte an element
    ("kind,dtype,batch,heads,kv_heads,q,kv,d,kv_dtype", "attention,bf16,2,4,1,1,5,8,fp8",
     2 * 4 * 2 * 2 * 5 * 8, 6 * 2 * 4 * 5, 2 * 2 * 4 * 8 + 2 * 2 * 5 * 8, 2 * 64),
    ("kind,dtype,shape", "softmax,fp32,2x3x4", 0, 5 * 24, 96, 96),
    # gain and bias of 4 elements each; 7 FLOPs
    ("kind,dtype,shape", "norm,fp32,2x3x4", 0, 7 * 24, 96 + 32, 96),
    ("kind,op,dtype,shape", "norm,rms_norm,fp16,6x4", 0, 4 * 24, 48 + 8, 48),
    # two operands, one, and one because the row says so
    ("kind,op,dtype,shape", "elementwise,add,fp32,6x4", 0, 24, 192, 96),
    ("kind,op,dtype,elements", "elementwise,gelu,fp32,24", 0, 5 * 24, 96, 96),
    ("kind,op,dtype,elements,reads", "elementwise,add,fp32,24,1", 0, 24, 96, 96),
    # one division a row beside a sum per element
    ("kind,op,dtype,shape", "reduction,mean,fp32,6x4", 0, 24 + 6, 96, 24),
    # the rows and 8 bytes for the name of each
    ("kind,dtype,shape", "gather,fp16,6x4", 0, 0, 48 + 48, 48),
    ("kind,dtype,shape", "copy,fp16,6x4", 0, 0, 48, 48),
    # 5 tokens, 2 of 4 experts each with 3 matrices of 8x16; all 4 experts are met: min(5*2, 4). Softmax of 5*4 scores,
    # silu (5) and its product on 10*16, results of 10*8 weighted and summed
    ("kind,dtype,tokens,experts,topk,hidden,intermediate", "moe,fp16,5,4,2,8,16", 2 * 10 * 3 * 128,
     5 * 20 + 6 * 160 + 2 * 80, 2 * 5 * 8 + 4 * 20 + 2 * 4 * 3 * 128, 80),
    ("kind,dtype,bytes,ranks", f"collective,fp16,{MB},8", 0, 0, MB, MB),
    # what the rules do not know is what the row says
    ("kind,op,dtype,flops,other_flops,bytes_read,bytes_written", "rnn,lstm,fp32,100,20,30,40", 100, 20, 30, 40),
    ("kind,dtype,m,n,k,bytes_read,bytes_written", "matmul,fp32,4,8,16,7,9", 0, 0, 7, 9),
]  # fmt: skip


@pytest.mark.parametrize(
    ("header", "row", "flops", "other", "read", "written"), COUNTED, ids=[r[1] for r in COUNTED]
)
def test_work_follows_from_the_sizes(
    tmp_path: Path, header: str, row: str, flops: float, other: float, read: float, written: float
) -> None:
    work = one(tmp_path, f"{header},latency_us\n{row},5\n").work
    found = (work.matmul_flops, work.other_flops, work.bytes_read, work.bytes_written)
    assert [float(value[0]) for value in found] == [flops, other, read, written]


def test_problem_sizes_are_those_of_a_models_rows(tmp_path: Path) -> None:
    linear = one(tmp_path, "kind,op,dtype,b,m,n,k,latency_s\nmatmul,linear,fp32,3,4,8,16,1\n")
    assert {k: float(v[0]) for k, v in linear.work.sizes.items()} == {
        "b": 1,
        "m": 12,
        "n": 8,
        "k": 16,
    }
    assert linear.work.weight_bytes[0] == 4 * 8 * 16
    explicit = one(
        tmp_path, "kind,dtype,m,n,k,bytes_read,bytes_written,latency_s\nmatmul,fp32,4,8,16,7,9,1\n"
    )
    assert {k: float(v[0]) for k, v in explicit.work.sizes.items()} == {
        "b": 1,
        "m": 4,
        "n": 8,
        "k": 16,
    }


def test_collectives_of_other_numbers_of_ranks_are_other_operators(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        "kind,op,dtype,bytes,ranks,latency_us\ncollective,allreduce,fp16,1024,2,9\ncollective,allreduce,fp16,1024,8,19\n"
    )
    two, eight = table.read(path)
    assert (two.op, eight.op) == ("allreduce 2", "allreduce 8")
    assert {k: float(v[0]) for k, v in eight.work.sizes.items()} == {"message": 1024, "ranks": 8}


def test_units_counts_and_overheads(tmp_path: Path) -> None:
    text = "kind,dtype,elements,op,latency_ms,count,overhead_s,energy_j,power_w\n"
    samples = one(
        tmp_path,
        text
        + "elementwise,fp32,9,relu,20,10,0.0005,,100\n"  # 20 ms of 10: 2 ms each, of which 0.5 were measuring
        + "elementwise,fp32,9,relu,20,10,,4,\n"
        + "elementwise,fp32,9,relu,20,,,,\n",
    )
    assert samples.latency_s == pytest.approx([1.5e-3, 2e-3, 20e-3])
    # 100 W for 20 ms are 2 J, of 10 executions; 4 J in 20 ms are 200 W
    assert samples.energy_j == pytest.approx([0.2, 0.4, np.nan], nan_ok=True)
    assert samples.power_w == pytest.approx([100, 200, np.nan], nan_ok=True)


def test_groups_are_the_shapes_of_weights_or_what_the_table_says(tmp_path: Path) -> None:
    header = "kind,op,dtype,b,m,n,k,group,latency_s\n"
    own = one(
        tmp_path,
        header
        + "matmul,linear,fp32,,4,8,16,,1\nmatmul,linear,fp32,,9,8,16,,1\nmatmul,linear,fp32,,4,8,16,bert,1\n",
    )
    assert own.group[0] == own.group[1]
    assert own.group[2] == "bert"
    batched = one(tmp_path, header + "matmul,bmm,fp32,2,4,8,16,,1\nmatmul,bmm,fp32,2,9,8,16,,1\n")
    assert batched.group[0] != batched.group[1]  # there are no weights to share


def test_kinds_operators_types_and_runtimes_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        "kind,op,dtype,runtime,elements,latency_s\n"
        "elementwise,add,fp32,eager,9,1\nelementwise,add,float32,eager,18,1\nelementwise,mul,fp32,eager,9,1\n"
        "elementwise,add,fp16,eager,9,1\nelementwise,add,fp32,onnxruntime,9,1\nsoftmax,,fp32,eager,9,1\n"
    )
    found = {(s.kind, s.op, s.dtype, s.runtime): len(s) for s in table.read(path)}
    assert found == {
        ("elementwise", "add", "float32", "eager"): 2,
        ("elementwise", "mul", "float32", "eager"): 1,
        ("elementwise", "add", "float16", "eager"): 1,
        ("elementwise", "add", "float32", "onnxruntime"): 1,
        ("softmax", "softmax", "float32", "eager"): 1,
    }


@pytest.mark.parametrize("name", ["back.csv", "back.csv.gz"])
def test_what_is_written_is_read_back(tmp_path: Path, name: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        "kind,op,dtype,m,n,k,elements,latency_s,energy_j\n"
        "matmul,linear,fp16,4,8,16,,0.25,3\nmatmul,linear,fp16,5,8,16,,0.5,\nelementwise,gelu,fp32,,,,7,0.125,\n"
    )
    before = table.read(path)
    table.write(before, tmp_path / name)
    for a, b in zip(before, table.read(tmp_path / name), strict=True):
        assert (a.kind, a.op, a.dtype, a.group.tolist()) == (
            b.kind,
            b.op,
            b.dtype,
            b.group.tolist(),
        )
        for field in ("latency_s", "energy_j", "power_w"):
            assert getattr(a, field) == pytest.approx(getattr(b, field), nan_ok=True)
        for field in ("matmul_flops", "other_flops", "bytes_read", "bytes_written", "weight_bytes"):
            assert getattr(a.work, field) == pytest.approx(getattr(b.work, field))
        assert {n: v.tolist() for n, v in a.work.sizes.items()} == {
            n: v.tolist() for n, v in b.work.sizes.items()
        }


def test_a_table_as_spreadsheets_write_it(tmp_path: Path) -> None:
    path = tmp_path / "t.csv.gz"
    # a byte order mark, blanks, whole numbers as floats, an empty line at the end
    text = "\ufeffKind , op,dtype,M,n,k,bias,latency_us\r\nmatmul,linear, FP32 ,4.0,8.0,16.0,1.0,5\r\n,,,,,,,\r\n"
    path.write_bytes(gzip.compress(text.encode()))
    (samples,) = table.read(path)
    assert len(samples) == 1
    assert samples.work.other_flops[0] == 32
    assert samples.latency_s == pytest.approx([5e-6])


HEAD = "kind,op,dtype,m,n,k,latency_s\n"
GOOD = "matmul,linear,fp32,4,8,16,1\n"
# What is wrong, and what the message must name: the line, the column, the value, what is allowed.
REFUSED = [
    (HEAD + GOOD + "matmul,linear,fp32,4,8,16,-1\n", ["line 3", "latency_s", "'-1'", "above 0"]),
    (HEAD + "matmul,linear,fp32,4,8,16,0\n", ["line 2", "latency_s", "above 0"]),
    (HEAD + "matmul,linear,fp32,4,8,16,nan\n", ["latency_s", "'nan'"]),
    (HEAD + "matmul,linear,fp32,4,8,16,inf\n", ["latency_s", "'inf'"]),
    (HEAD + "matmul,linear,fp32,4,8,16,\n", ["line 2", "latency_s", "empty"]),
    (HEAD + "matmul,linear,fp32,4,8.5,16,1\n", ["column n", "'8.5'", "whole number"]),
    (HEAD + "matmul,linear,fp32,4,0,16,1\n", ["column n", "'0'", "at least 1"]),
    (HEAD + "matmul,linear,fp32,4,,16,1\n", ["column n", "empty"]),
    (HEAD + "matmul,linear,fp33,4,8,16,1\n", ["dtype", "'fp33'", "bfloat16"]),
    (HEAD + "gemm,linear,fp32,4,8,16,1\n", ["kind", "'gemm'", "matmul"]),
    (HEAD + GOOD + "matmul,linear,fp32,4,x,16,1\nmatmul,linear,fp32,4,y,16,1\n", ["line 3", "1 more"]),
    (HEAD + "elementwise,gelu,fp32,,,,1\n", ["shape", "8x128x768"]),
    (HEAD + "rnn,lstm,fp32,,,,1\n", ["rnn", "bytes_read"]),
    ("kind,dtype,m,n,k\nmatmul,fp32,4,8,16\n", ["latency_s, latency_ms, latency_us"]),
    ("kind,dtype,m,n,k,latency_s,latency_ms\nmatmul,fp32,4,8,16,1,1\n", ["latency_s and latency_ms"]),
    ("kind,dtype,m,n,k,latancy_s\nmatmul,fp32,4,8,16,1\n", ["'latancy_s'", "'latency_s'"]),
    ("kind,dtype,m,m,n,k,latency_s\nmatmul,fp32,4,4,8,16,1\n", ["m.1"]),
    ("kind;dtype;m;n;k;latency_s\nmatmul;fp32;4;8;16;1\n", ["semicolons"]),
    ("kind\tdtype\tm\nmatmul\tfp32\t4\n", ["tabs"]),
    ("kind,op,dtype,elements,latency_s\nelementwise,frobnicate,fp32,8,1\n", ["op", "'frobnicate'", "counts"]),
    ("kind,op,dtype,shape,latency_s\nelementwise,add,fp32,8xx,1\n", ["shape", "'8xx'"]),
    ("kind,dtype,bytes_read,bytes_written,latency_s\nrnn,fp32,0,0,1\n", ["some work"]),
    ("kind,dtype,batch,in_channels,out_channels,height,width,kernel,groups,latency_s\nconv,fp32,1,3,4,5,5,3,2,1\n",
     ["groups", "divisor"]),
    ("kind,dtype,batch,in_channels,out_channels,height,width,kernel,latency_s\nconv,fp32,1,3,4,5,5,7,1\n",
     ["kernel", "padded image"]),
    ("kind,dtype,batch,in_channels,out_channels,height,width,kernel,stride,latency_s\nconv,fp32,1,3,4,5,5,3,0,1\n",
     ["stride"]),
    ("kind,dtype,tokens,experts,hidden,intermediate,latency_s\nmoe,fp32,1,2,3,4,1\n", ["topk"]),
    ("kind,op,dtype,m,n,k,bias,latency_s\nmatmul,linear,fp32,4,8,16,yes,1\n", ["bias", "'yes'", "0, 1"]),
    ("kind,op,dtype,elements,overhead_s,latency_s\nelementwise,add,fp32,8,2,1\n", ["overhead_s", "less than"]),
    (HEAD, ["no rows"]),
    ("", ["not a CSV table"]),
    (HEAD + "matmul,linear,fp32,4,8,16,1,7,7\n", ["not a CSV table"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "named"), REFUSED, ids=[str(row[1]) for row in REFUSED])
def test_a_bad_table_is_refused_by_line_column_and_value(
    tmp_path: Path, text: str, named: list[str]
) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(TableError, match=r"bad\.csv") as caught:
        table.read(path)
    for part in named:
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.csv", b"\xff\xfe\x00k"), ("a.csv.gz", b"not compressed"), ("a.csv.gz", gzip.compress(b"kind,op" * 99)[:-9])],
)  # fmt: skip
def test_a_file_that_is_no_table_is_a_table_error(
    tmp_path: Path, name: str, content: bytes
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(TableError, match=name):
        table.read(path)


def test_a_directory_and_a_missing_file_are_table_errors(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent.csv"):
        with pytest.raises(TableError):
            table.read(path)

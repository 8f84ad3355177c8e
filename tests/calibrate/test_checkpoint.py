"""The log of a calibration: what was appended is there, what was cut off is not, and strangers are refused."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_opt.calibrate import checkpoint
from energy_opt.calibrate.checkpoint import Checkpoint
from energy_opt.errors import CalibrationError, OutputError

HEADER = {
    "target": "cpu", "device": "a machine", "runtime": "eager", "seed": 0, "schedule": "abc",
    "versions": {"torch": "1"},
}  # fmt: skip


def _written(path: Path, count: int = 3) -> None:
    with Checkpoint.open(path, HEADER) as log:
        for number in range(count):
            log.append({"visit": number, "latency_s": 1e-5 * number})


def test_lines_come_back(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    _written(path)
    with Checkpoint.open(path, HEADER) as log:
        assert [line["visit"] for line in log.lines] == [0, 1, 2]
        log.append({"visit": 3})
    header, lines = checkpoint.read(path)
    assert header["target"] == "cpu"
    assert [line["visit"] for line in lines] == [0, 1, 2, 3]


def test_a_line_is_in_the_file_once_append_returns(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with Checkpoint.open(path, HEADER) as log:
        log.append({"visit": 0})
        assert path.read_text().count("\n") == 2


def test_a_log_is_the_same_wherever_its_last_line_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    _written(path)
    whole = path.read_bytes()
    last = whole.rstrip(b"\n").rfind(b"\n") + 1
    for cut in range(last, len(whole)):
        path.write_bytes(whole[:cut])
        with Checkpoint.open(path, HEADER) as log:
            assert [line["visit"] for line in log.lines] == [0, 1]
            log.append({"visit": 2, "latency_s": 2e-5})
        assert path.read_bytes() == whole


def test_a_header_that_was_cut_starts_a_new_log(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"schema":"energy-opt/calibr')
    _written(path)
    assert len(checkpoint.read(path)[1]) == 3


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("target", "cuda:0", "of another target (cpu, now cuda:0)"),
        ("device", "another", "of another device (a machine, now another)"),
        ("runtime", "onnxruntime", "of another runtime"),
        ("seed", 1, "another seed (0, now 1)"),
        ("schedule", "xyz", "times other primitives"),
        ("versions", {"torch": "2"}, "other versions (torch 1, now torch 2)"),
    ],
)
def test_another_calibration_is_refused(
    tmp_path: Path, name: str, value: object, says: str
) -> None:
    path = tmp_path / "log.jsonl"
    _written(path)
    before = path.read_bytes()
    with pytest.raises(CalibrationError) as raised:
        Checkpoint.open(path, {**HEADER, name: value})
    assert says in str(raised.value)
    assert "--fresh" in str(raised.value)
    assert path.read_bytes() == before


def test_fresh_throws_away_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    _written(path)
    with Checkpoint.open(path, {**HEADER, "seed": 7}, fresh=True) as log:
        assert log.lines == []
    assert checkpoint.read(path)[0]["seed"] == 7


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("hello\n", "line 1: damaged"),
        ("[1, 2]\n", "line 1: not a JSON object"),
        ('{"a": 1}\n', "not a log of a calibration"),
        ('{"schema": "energy-opt/calibration-log/9"}\n', "another format"),
    ],
)
def test_what_is_no_log_is_refused_and_left_alone(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "notes.txt"
    path.write_text(text)
    with pytest.raises(CalibrationError, match=says):
        Checkpoint.open(path, HEADER)
    assert path.read_text() == text


def test_damage_in_the_middle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    _written(path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], b'{"visit": 1, "lat\n', *lines[3:]]))
    with pytest.raises(CalibrationError, match="line 3: damaged"):
        Checkpoint.open(path, HEADER)


def test_two_writers_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    path = tmp_path / "log.jsonl"
    with (
        Checkpoint.open(path, HEADER),
        pytest.raises(CalibrationError, match="another calibration is writing"),
    ):
        Checkpoint.open(path, HEADER)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="make the folder first"):
        Checkpoint.open(tmp_path / "no" / "log.jsonl", HEADER)


def test_compressed_logs_are_read(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    _written(path)
    packed = tmp_path / "log.jsonl.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert checkpoint.read(packed) == checkpoint.read(path)


@pytest.mark.parametrize("data", [b"", b"\x1f\x8bnot gzip"])
def test_what_cannot_be_read_is_one_clear_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "log.jsonl.gz"
    path.write_bytes(data)
    with pytest.raises(CalibrationError, match=r"log\.jsonl\.gz"):
        checkpoint.read(path)


@given(
    st.dictionaries(
        st.text(max_size=5), st.floats(allow_nan=False, allow_infinity=False), max_size=4
    )
)
def test_numbers_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, line: dict[str, float]
) -> None:
    path = tmp_path_factory.mktemp("logs") / "log.jsonl"
    with Checkpoint.open(path, HEADER) as log:
        log.append(line)
    assert checkpoint.read(path)[1] == [json.loads(json.dumps(line))]

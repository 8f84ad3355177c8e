"""A few hundred broken models, by seed: each is an answer or one clear error. benchmarks/fuzz.py runs thousands."""

from __future__ import annotations

from pathlib import Path

import pytest

import energy_opt
from energy_opt.errors import EnergyOptError
from energy_opt.frontend import wire
from energy_opt.frontend.strip import strip
from tests.frontend.bombs import BOMBS
from tests.frontend.mutations import corpus, mutant


@pytest.fixture(scope="module")
def models() -> list[bytes]:
    return corpus(most_bytes=4000)


def test_reading_and_stripping(models: list[bytes], tmp_path: Path) -> None:
    small = tmp_path / "small.onnx"
    refusals = []
    for seed in range(400):
        path = tmp_path / f"{seed}.onnx"  # a new file: to write one anew would wait for the disk
        path.write_bytes(mutant(seed, models))
        try:
            wire.read_model(path)
        except EnergyOptError as error:
            refusals.append(str(error))
        else:
            if seed % 10 == 0:  # as that waits for the disk
                strip(path, small)
                wire.read_model(small)
    assert 50 < len(refusals) < 350
    assert [text for text in refusals if not text.isprintable()] == []


@pytest.mark.parametrize("start", [1000, 1100])
def test_loading(models: list[bytes], tmp_path: Path, start: int) -> None:
    refused = 0
    for seed in range(start, start + 100):
        path = tmp_path / f"{seed}.onnx"
        path.write_bytes(mutant(seed, models))
        try:
            assert energy_opt.load(str(path)).model.graph is not None
        except EnergyOptError:
            refused += 1
    assert 10 < refused < 90


def test_a_seed_is_a_reproducer(models: list[bytes]) -> None:
    assert mutant(7, models) == mutant(7, models)
    assert len({mutant(seed, models) for seed in range(50)}) > 45
    assert len(BOMBS) == len(set(BOMBS))

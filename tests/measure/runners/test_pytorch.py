"""Modules made ready to run: weights, inputs, and the user's module left as it was."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from energy_opt.errors import ModelError, UsageError  # noqa: E402
from energy_opt.measure.runners.inputs import fill, from_arrays  # noqa: E402
from energy_opt.measure.runners.pytorch import TorchRunner, materialise  # noqa: E402
from energy_opt.measure.runners.target import Target  # noqa: E402

CPU = Target("cpu", "cpu", "a CPU")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(50, 8)
        self.norm = nn.BatchNorm1d(8)
        self.free = nn.Parameter(torch.zeros(8, 8))
        self.register_buffer("weighting", torch.full((8,), 0.5))

    def forward(self, ids: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        found = self.norm((self.words(ids) @ self.free).mean(1)) * self.weighting
        return found if mask is None else found * mask


def on_meta() -> Net:
    with torch.device("meta"):
        return Net()


def test_a_module_without_weights_gets_some_with_which_it_stays_finite() -> None:
    module = on_meta()
    made, notes = materialise(module, "cpu", owned=True)
    out = made.eval()(torch.randint(0, 50, (4, 6)))
    assert notes == ["the weights are random"]
    assert bool(torch.isfinite(out).all())
    assert made.free.abs().max() > 0  # no layer of its own draws it
    assert torch.equal(made.norm.running_var, torch.ones(8))
    assert all(tensor.is_meta for tensor in module.parameters())


def test_the_same_module_gets_the_same_weights_and_the_callers_random_numbers_stay() -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    first, _ = materialise(on_meta(), "cpu", owned=True)
    again, _ = materialise(on_meta(), "cpu", owned=True)
    assert torch.equal(first.words.weight, again.words.weight)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_module_with_weights_is_used_as_it_is() -> None:
    module = Net()
    made, notes = materialise(module, "cpu", owned=False)
    assert made is module
    assert notes == []


def test_a_run_leaves_the_mode_of_every_part_as_it_was() -> None:
    module = Net().train()
    module.norm.eval()
    counted = module.norm.num_batches_tracked.clone()
    runner = TorchRunner(module, (torch.zeros(4, 6, dtype=torch.long),), {}, CPU)
    runner.run()
    runner.close()
    assert module.training
    assert not module.norm.training
    assert module.words.training
    assert torch.equal(module.norm.num_batches_tracked, counted)


def test_what_a_module_raises_is_one_line_that_says_what_to_do() -> None:
    runner = TorchRunner(Net(), (torch.full((4, 6), 50),), {}, CPU)
    with pytest.raises(ModelError, match=r"Net: IndexError: .*--inputs FILE.npz") as caught:
        runner.run()
    assert "\n" not in str(caught.value)


# -- inputs ----------------------------------------------------------------------------------------------------------


def meta(*shape: int, dtype: torch.dtype = torch.long) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def test_examples_with_values_are_taken_where_they_fit() -> None:
    example = torch.randint(0, 50, (2, 6))
    args, _ = fill(Net(), ((example,), {}), ((example,), {}), "cpu")
    assert torch.equal(args[0], example)


def test_ids_of_another_size_stay_in_the_examples_range() -> None:
    example = torch.randint(10, 20, (2, 6))
    args, _ = fill(Net(), ((meta(64, 6),), {}), ((example,), {}), "cpu")
    assert args[0].shape == (64, 6)
    assert args[0].min() >= example.min()
    assert args[0].max() <= example.max()


def test_ids_without_an_example_are_those_of_the_smallest_table() -> None:
    args, _ = fill(Net(), ((meta(64, 64),), {}), ((meta(64, 64),), {}), "cpu")
    assert 40 < args[0].max() < 50  # 4096 draws of 0 to 49


def test_masks_are_ones_and_floats_are_never_zeros() -> None:
    wanted = ((meta(2, 6),), {"mask": meta(2, 8, dtype=torch.float32)})
    _, kwargs = fill(Net(), wanted, wanted, "cpu")
    assert torch.equal(kwargs["mask"], torch.ones(2, 8))
    wanted = ((meta(100, 100, dtype=torch.float16),), {})
    args, _ = fill(nn.Linear(100, 1), wanted, wanted, "cpu")
    assert args[0].dtype is torch.float16
    assert args[0].float().std() == pytest.approx(1.0, abs=0.1)


def test_arrays_of_a_name_that_the_module_does_not_take_are_refused() -> None:
    with pytest.raises(UsageError, match="takes no 'tokens'; it takes ids, mask"):
        from_arrays(Net(), {"tokens": [1]}, "cpu")
    _, kwargs = from_arrays(Net(), {"ids": [[1, 2]]}, "cpu")
    assert kwargs["ids"].tolist() == [[1, 2]]

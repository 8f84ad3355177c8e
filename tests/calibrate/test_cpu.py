"""The CPU backend: operands, calls, threads, a loaded host. No test looks at how long anything takes."""

from __future__ import annotations

import pytest

from energy_opt.calibrate.draw import CPU, Means, Sizes, draw
from energy_opt.errors import CalibrationError

torch = pytest.importorskip("torch")

from energy_opt.calibrate import cpu  # noqa: E402
from energy_opt.calibrate.backend import Setting, Unrunnable  # noqa: E402
from energy_opt.calibrate.cpu_points import of_model, points  # noqa: E402
from energy_opt.calibrate.primitives import Primitive, TensorSpec  # noqa: E402
from energy_opt.calibrate.random_tensors import Pool, bound  # noqa: E402

SMALL = Means(flops=1e7, nbytes=1e6, batch=2)


@pytest.fixture
def backend(monkeypatch):
    monkeypatch.setattr(cpu, "POOL_MEGABYTES", 8)
    made = cpu.CpuBackend(threads=1)
    yield made
    made.close()


def test_every_drawn_operator_runs_and_is_timed(backend) -> None:
    for primitive in draw(1, means=SMALL):
        prepared = backend.prepare(primitive, 0)
        timing = backend.time(prepared)
        assert timing.latency_s > 0
        assert timing.energy_j is None
        prepared.close()


def test_results_have_the_shapes_that_were_priced(backend) -> None:
    for primitive in draw(1, means=SMALL, seed=7):
        prepared = backend.prepare(primitive, 0)
        positional, named = prepared.second
        made = prepared.function(*positional, **named)
        assert tuple(made.shape) == primitive.outputs[0].shape


def test_the_two_sets_of_operands_do_not_share_memory(backend) -> None:
    primitive = Primitive("aten::relu", "", (), (TensorSpec((64, 64)),), (TensorSpec((64, 64)),))
    prepared = backend.prepare(primitive, 0)
    first, second = prepared.first[0][0], prepared.second[0][0]
    ends = sorted((t.data_ptr(), t.data_ptr() + t.nbytes) for t in (first, second))
    assert ends[0][1] <= ends[1][0]


def test_an_operator_in_place_writes_over_nothing_of_others() -> None:
    pool = Pool(1, 0)
    x = TensorSpec((32, 32))
    before = pool.tensor(x).clone()
    relu = Primitive("aten::relu_", "", (("in_place", 1),), (x,), (x,))
    function, positional, named = bound(relu, lambda spec, written: pool.tensor(spec, own=written))
    function(*positional, **named)
    pool._place.clear()
    assert torch.equal(pool.tensor(x), before)
    assert (positional[0] >= 0).all()


@pytest.mark.parametrize(
    ("spec", "low", "high"),
    [
        (TensorSpec((500,), "int64", "index", 7), 0, 6),
        (TensorSpec((500,), "bool", "mask"), 1, 1),
        (TensorSpec((5000,), "int8", "index", 3), 0, 2),
    ],
)
def test_whole_numbers_are_in_range(spec: TensorSpec, low: int, high: int) -> None:
    made = Pool(1, 0).tensor(spec)
    assert (int(made.min()), int(made.max())) == (low, high)


def test_operands_are_normal_and_lie_as_asked() -> None:
    made = Pool(4, 0).tensor(TensorSpec((100, 200), strides=(1, 100)))
    assert made.stride() == (1, 100)
    assert abs(float(made.mean())) < 0.05
    assert abs(float(made.std()) - 1) < 0.05
    assert float(Pool(1, 0, data="zeros").tensor(TensorSpec((10,))).abs().sum()) == 0.0


def test_an_operator_larger_than_the_pool_gets_memory_of_its_own() -> None:
    made = Pool(1, 0).tensor(TensorSpec((1024, 1024)))
    assert made.shape == (1024, 1024)
    assert abs(float(made.std()) - 1) < 0.05


@pytest.mark.parametrize(
    ("primitive", "said"),
    [
        (Primitive("aten::no_such_op", "", (), (), ()), "does not have it"),
        (Primitive("nolib::op", "", (), (), ()), "does not have it"),
        (Primitive("aten::relu", "", (), (TensorSpec((2,), "float99"),), ()), "no element type"),
        (Primitive("aten::mm", "", (), (TensorSpec((2, 3)), TensorSpec((2, 3))), ()), "mat1"),
    ],
)
def test_what_cannot_run_says_why(backend, primitive: Primitive, said: str) -> None:
    with pytest.raises(Unrunnable, match=said):
        backend.prepare(primitive, 0)


def test_settings_of_accelerators_are_refused(backend) -> None:
    with pytest.raises(Unrunnable, match="tf32"):
        backend.prepare(draw(1, means=SMALL)[0], 0, Setting(math="tf32"))


def test_facts_say_what_the_machine_is(backend) -> None:
    facts = backend.facts()
    assert facts["kind"] == "cpu"
    assert facts["units"] == 1
    assert facts["libraries"] == {"torch": torch.__version__}
    assert facts["device"]


def test_threads_are_as_before_afterwards() -> None:
    before = torch.get_num_threads()
    with cpu.pinned(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def test_host_costs_are_no_negative_numbers(backend) -> None:
    cost = backend.host()
    assert cost.launch_s >= 0
    assert cost.view_s >= cost.launch_s
    assert not cost.overlaps


# -- a loaded host -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 0.05])
def test_a_quiet_host_is_not_refused(share: float) -> None:
    ticks = iter([(100.0, 1000.0), (100.0 + 200 * share, 1200.0)])
    cpu.refuse_if_loaded(0.0, lambda: next(ticks))


def test_a_loaded_host_is_refused_with_the_figures() -> None:
    ticks = iter([(100.0, 1000.0), (200.0, 1200.0)])  # 100 of 200 jiffies
    with pytest.raises(CalibrationError, match=r"50% of the processors.*--force"):
        cpu.refuse_if_loaded(0.0, lambda: next(ticks))


def test_force_calibrates_a_loaded_host(monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise CalibrationError("loaded")

    monkeypatch.setattr(cpu, "refuse_if_loaded", refuse)
    monkeypatch.setattr(cpu, "POINTS", 20)
    monkeypatch.setattr(cpu, "POOL_MEGABYTES", 8)
    with pytest.raises(CalibrationError, match="loaded"):
        cpu.open_target()
    backend, chosen, _ = cpu.open_target(force=True)
    backend.close()
    assert chosen


def test_a_runtime_that_is_not_timed_is_refused() -> None:
    with pytest.raises(CalibrationError, match="onnxruntime"):
        cpu.open_target(runtime="onnxruntime", force=True)


# -- points ------------------------------------------------------------------------------------------------------------


def test_points_are_those_of_the_model_and_others() -> None:
    import energy_opt as eo

    module = torch.nn.Sequential(torch.nn.Linear(24, 40), torch.nn.ReLU())
    graph = eo.load(module, (torch.zeros(2, 24),))
    own = {p.key for p in of_model(graph, CPU)}
    assert {p.op for p in of_model(graph, CPU)} == {"aten::linear", "aten::relu"}
    chosen = points(models=[graph], dtypes=["float32"], count=50, seed=0, means=SMALL)
    assert own < {point.primitive.key for point in chosen}


def test_sizes_are_drawn_within_bounds() -> None:
    sizes = Sizes(0, "float32", SMALL)
    assert all(1 <= sizes.tokens()[0] <= SMALL.batch for _ in range(100))

"""The child of benchmarks/frontends.py: what one way costs on one model, and what it misses; prints JSON.

python benchmarks/frontends_child.py measure WAY MODEL RUNS    # or: misses WAY - 0; reference - MODEL 0
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import resource
import statistics
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import counters


def probes() -> Iterator[tuple[str, Any, Any, int]]:
    """(operator, module of one input, the input, FLOPs)."""
    import torch
    from torch import nn
    from torch.nn import functional

    class Of(nn.Module):
        def __init__(self, function: Callable[[Any], Any]) -> None:
            super().__init__()
            self.function = function
            self.weight = nn.Parameter(torch.zeros(16, 16))  # some tools refuse a module without

        def forward(self, x: Any) -> Any:
            return self.function(x)

    class Called(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Any) -> Any:
            return self.inner(x)

    class FunctionalLinear(Of):
        def forward(self, x: Any) -> Any:
            return functional.linear(x, self.weight)

    square = 2 * 4 * 16 * 16 * 16  # a batch of 4 products of 16x16 by 16x16
    yield "Linear", Called(nn.Linear(16, 16)), (4, 16, 16), square
    yield "functional.linear", FunctionalLinear(None), (4, 16, 16), square
    yield "matmul", Of(lambda x: torch.matmul(x, x)), (4, 16, 16), square
    yield "@", Of(lambda x: x @ x), (4, 16, 16), square
    yield "bmm", Of(lambda x: torch.bmm(x, x)), (4, 16, 16), square
    yield "einsum", Of(lambda x: torch.einsum("bij,bjk->bik", x, x)), (4, 16, 16), square
    yield "addmm", Of(lambda x: torch.addmm(x, x, x)), (16, 16), square // 4
    # scores and their product with the values
    sdpa = functional.scaled_dot_product_attention
    yield "scaled_dot_product_attention", Of(lambda x: sdpa(x, x, x)), (1, 4, 16, 16), 2 * square
    # 16 outputs of 14x14, each a sum over 16 channels of 3x3
    yield "conv2d", Called(nn.Conv2d(16, 16, 3)), (1, 16, 16, 16), 2 * 16 * 14 * 14 * 16 * 9
    yield "conv1d", Called(nn.Conv1d(16, 16, 3)), (4, 16, 16), 2 * 4 * 16 * 14 * 16 * 3
    # 64 rows in 4 groups, each by its own 16x16 (the experts of a mixture)
    ends = torch.arange(16, 65, 16, dtype=torch.int32)
    experts = torch.zeros(4, 16, 16, dtype=torch.bfloat16)
    grouped = functional.grouped_mm
    yield (
        "grouped_mm",
        Of(lambda x: grouped(x.bfloat16(), experts.to(x.device), offs=ends.to(x.device))),
        (64, 16),
        square,
    )
    # 16 steps of 4 gates, each a product with the input and one with the state
    yield "lstm", Called(nn.LSTM(16, 16, batch_first=True)), (4, 16, 16), 4 * 2 * square


def misses(way: str) -> list[str]:
    """Operators of which the tool counts less than half."""
    import torch

    found = []
    for operator, module, shape, flops in probes():
        x = torch.zeros(shape)
        if counters.WAYS[way][2] == "meta":
            module, x = module.to("meta"), x.to("meta")
        dynamic: dict[str, dict[int, str]] = {}
        try:
            count = counters.WAYS[way][0](module.eval(), {"x": x}, dynamic)()
        except Exception as error:  # noqa: BLE001 - peers fail in every way, and what fails is not counted
            found.append(f"{operator} ({type(error).__name__})")
            continue
        if count is None or count < 0.5 * flops:
            found.append(operator)
    return found


def cpu_s() -> float:
    """CPU seconds of this process so far, user and system."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def measure(way: str, model: str, runs: int) -> dict[str, Any]:
    """CPU seconds of each stage and of the calls, FLOPs, and peak memory in MB of one way on one model."""
    start = cpu_s()
    import torch
    import transformers  # noqa: F401  (its import is stated apart)

    torch.set_num_threads(1)
    imported = cpu_s()
    module, inputs, dynamic = counters.prepared(model)
    built = cpu_s()
    call = counters.WAYS[way][0](module, inputs, dynamic)
    before_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    seconds, flops = [], None
    for _ in range(1 + runs):
        begun = cpu_s()
        flops = call()
        seconds.append(cpu_s() - begun)
        if sum(seconds) > 60:
            break  # a real run of a large model: the first call says enough
    return {
        "import_s": imported - start,
        "build_s": built - imported,
        "first_s": seconds[0],
        "seconds": statistics.median(seconds[1:] or seconds),
        "flops": flops,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
        "before_mb": before_mb,
        "parameters": sum(weight.numel() for weight in module.parameters()),
    }


def reference(model: str) -> dict[str, Any]:
    """The closed form of a model's FLOPs at the size of its inputs, and its operators that multiply."""
    import energy_opt as eo
    from energy_opt.frontend.pytorch.modules import load_module
    from tests.oracles import macs_torch

    module, inputs, dynamic = counters.prepared(model)
    sizes = counters.sizes_of(inputs, dynamic)
    work = eo.workload(load_module(module, inputs, dynamic=dynamic))
    return {
        "flops": 2 * macs_torch.CASES[model].count(module.config, **sizes),
        "sizes": sizes,
        "operators": sorted({row.op for row in work if row.matmul_flops != 0}),
    }


def main() -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    task, way, model, runs = sys.argv[1:5]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        if task == "misses":
            result: Any = misses(way)
        elif task == "reference":
            result = reference(model)
        else:
            result = measure(way, model, int(runs))
    print(json.dumps(result))


if __name__ == "__main__":
    main()

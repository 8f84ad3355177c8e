"""What a measurement can run on: whether it is there, what it is called, and how much memory it has free."""

from __future__ import annotations

import os
import platform
import re
import time
from dataclasses import dataclass
from pathlib import Path

from energy_opt.errors import UsageError

_CUDA = re.compile(r"(?:cuda|gpu)(?::(\d{1,3}))?")


@dataclass(frozen=True)
class Target:
    """A device to run on: `cpu` or `cuda:N`. `free_bytes` is None where nobody can tell."""

    name: str
    kind: str
    label: str
    processors: int | None = None
    total_bytes: int | None = None
    free_bytes: int | None = None
    family: int | None = None
    model: int | None = None
    stepping: int | None = None
    vendor: str = ""
    features: frozenset[str] = frozenset()

    @property
    def index(self) -> int:
        """The number of a GPU, as PyTorch counts them."""
        return int(self.name.partition(":")[2] or 0)

    def running_others(self, proc: Path = Path("/proc")) -> int:
        """How many other threads keep the processors busy: the fewest of some looks, short ones do not count."""
        looks = []
        for _ in range(5):
            looks.append(_running(proc / "loadavg"))
            time.sleep(0.02)
        return max(0, min(looks) - 1)  # one is this thread


def _running(path: Path) -> int:
    """Threads that run or wait for a processor at this moment; 0 where nobody can tell."""
    try:
        return int(path.read_text(encoding="ascii").split()[3].partition("/")[0])
    except (OSError, ValueError, IndexError):
        return 0


def find(name: str) -> Target:
    """The target of that name.

    Raises:
        UsageError: no such device here, or a name that is none; the message says why and what to do.
    """
    given = str(name).strip().lower()
    if given == "cpu":
        return _cpu(Path("/proc"))
    match = _CUDA.fullmatch(given)
    if match is None:
        raise UsageError(f"target {name!r} is not known; there are cpu and cuda:N, such as cuda:0")
    return _cuda(int(match.group(1) or 0))


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cuda(index: int) -> Target:
    import importlib.util

    where = f"target cuda:{index}"
    if importlib.util.find_spec("torch") is None:
        raise UsageError(
            f"{where} needs PyTorch, not installed here: pip install 'energy-opt[torch]'"
        )
    import torch

    if not torch.cuda.is_available():
        built = torch.version.cuda is not None
        why = "no NVIDIA GPU or driver is there" if built else "this PyTorch is built without CUDA"
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        if built and hidden is not None:
            why = f"CUDA_VISIBLE_DEVICES={hidden!r} leaves no GPU, or none is there"
        raise UsageError(f"{where}: {why}; measure on --target cpu, or run it where the GPU is")
    count = torch.cuda.device_count()
    if index >= count:
        raise UsageError(
            f"{where}: there {'is' if count == 1 else 'are'} only {count}, numbered from cuda:0"
        )
    free, total = torch.cuda.mem_get_info(index)
    return Target(
        f"cuda:{index}", "gpu", str(torch.cuda.get_device_name(index)), total_bytes=total, free_bytes=free
    )  # fmt: skip


def _cpu(proc: Path) -> Target:
    facts = _cpuinfo(proc / "cpuinfo")
    memory = _meminfo(proc / "meminfo")
    label = facts.get("model name") or platform.processor() or platform.machine() or "CPU"
    return Target(
        "cpu",
        "cpu",
        " ".join(label.split()),
        processors=processors(),
        total_bytes=memory.get("MemTotal"),
        free_bytes=memory.get("MemAvailable"),
        family=_int(facts.get("cpu family")),
        # Arm has no model; its part number tells the cores apart as well.
        model=_int(facts.get("model") or facts.get("CPU part")),
        stepping=_int(facts.get("stepping")),
        vendor=facts.get("vendor_id") or ("arm" if "CPU part" in facts else ""),
        features=frozenset((facts.get("flags") or facts.get("Features") or "").split()),
    )


def _cpuinfo(path: Path) -> dict[str, str]:
    """The fields of the first processor; {} where there is no such file."""
    found: dict[str, str] = {}
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return found
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if not colon and found:
            break
        found.setdefault(key.strip(), value.strip())
    return found


def _meminfo(path: Path) -> dict[str, int]:
    """Bytes by name."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    lines = (line.replace(":", " ").split() for line in text.splitlines())
    return {
        parts[0]: int(parts[1]) * 1024 for parts in lines if len(parts) > 1 and parts[1].isdigit()
    }


def _int(text: str | None) -> int | None:
    try:
        return None if text is None else int(text, 0)
    except ValueError:
        return None

"""Is this installation in order? Looks at what is installed and at the machine; runs and imports nothing heavy."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from energy_opt import __version__, units
from energy_opt.measure.runners.target import processors

Level = Literal["ok", "absent", "note", "broken"]

_CORE = ("onnx", "onnx-ir", "onnx-shape-inference", "numpy", "scipy", "pandas", "statsmodels", "rich", "typer",
         "pydantic", "sympy", "networkx", "plotly")  # fmt: skip
_EXTRAS = {
    "torch": ("torch", "transformers", "onnxscript", "fvcore"),
    "search": ("optuna",),
    "cpu": ("onnxruntime",),
    "gpu": ("onnxruntime-gpu", "nvidia-ml-py"),
}
_NEEDED_FOR = {
    "torch": "PyTorch modules, transformers configs and --cross-check",
    "search": "the architecture search among the examples",
    "cpu": "measuring and calibrating ONNX Runtime",
    "gpu": "metering NVIDIA GPUs, and measuring ONNX Runtime on them",
}
# All of them install the same folder `onnxruntime`, so that the last one wins and removing one breaks the other.
_ORT = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-directml",
    "onnxruntime-openvino",
    "ort-nightly",
)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: `todo` says what to do where something is wrong."""

    level: Level
    what: str
    detail: str
    todo: str = ""

    def to_dict(self) -> dict[str, str]:
        """The finding as a JSON object."""
        return asdict(self)


def examine() -> list[Finding]:
    """Everything the doctor looks at, in the order to read it."""
    return [python(), *packages(), *onnxruntime(), host(), *gpus(), *meters()]


def python() -> Finding:
    """The interpreter and energy-opt's own version."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    return Finding(
        "ok", "energy-opt", f"{__version__}, Python {version}, {platform.platform(terse=True)}"
    )


def packages() -> list[Finding]:
    """Versions of the core's requirements, and of each extra."""
    found = {name: _version(name) for name in _CORE}
    missing = [name for name, version in found.items() if version is None]
    present = ", ".join(f"{name} {version}" for name, version in found.items() if version)
    if missing:
        todo = f"pip install {' '.join(missing)}"
        core = Finding("broken", "core", f"missing: {', '.join(missing)}; there: {present}", todo)
    else:
        core = Finding("ok", "core", present)
    return [core, *(_extra(extra, names) for extra, names in _EXTRAS.items())]


def onnxruntime() -> list[Finding]:
    """Whether ONNX Runtime is there at most once and whole."""
    found = {name: version for name in _ORT if (version := _version(name))}
    if len(found) > 1:
        both = " and ".join(f"{name} {version}" for name, version in found.items())
        keep = (
            "onnxruntime-gpu" if "onnxruntime-gpu" in found and _nvidia_smi() else next(iter(found))
        )
        todo = f"pip uninstall -y {' '.join(found)} && pip install {keep}"
        detail = f"{both} are both installed; they overwrite each other's files, so neither can be trusted"
        return [Finding("broken", "onnxruntime", detail, todo)]
    for name, version in found.items():
        problem = _ort_problem(version)
        if problem:
            todo = f"pip install --force-reinstall --no-deps {name}=={version}"
            return [
                Finding(
                    "broken", "onnxruntime", f"{name} {version} is installed, but {problem}", todo
                )
            ]
    return []


def host() -> Finding:
    """The machine's processors and memory."""
    try:
        memory = units.nbytes(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):
        memory = units.UNKNOWN
    return Finding(
        "ok",
        "host",
        f"{processors()} processors, {memory} of memory; predictions need no more than that",
    )


def gpus() -> list[Finding]:
    """The GPUs that the NVIDIA driver sees and their memory."""
    smi = _nvidia_smi()
    if smi is None:
        return [Finding("absent", "gpu", "no NVIDIA driver here; predictions do not need one")]
    query = [
        smi,
        "--query-gpu=name,memory.total,memory.used,driver_version",
        "--format=csv,noheader,nounits",
    ]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=15, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return [
            Finding(
                "note", "gpu", f"nvidia-smi does not answer: {error}", "check the NVIDIA driver"
            )
        ]
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip().splitlines()
        return [
            Finding(
                "note",
                "gpu",
                f"nvidia-smi fails: {said[0] if said else ''}",
                "check the NVIDIA driver",
            )
        ]
    return [_gpu(line) for line in done.stdout.splitlines() if line.strip()]


def meters() -> list[Finding]:
    """The energy meters that work here, and why the others do not."""
    from energy_opt.measure.meters import available

    return [
        Finding("ok" if meter.available else "absent", f"meter {meter.name}", meter.reason)
        for meter in available()
    ]


def _gpu(line: str) -> Finding:
    parts = [part.strip() for part in line.split(",")]
    if len(parts) != 4 or not (parts[1].isdigit() and parts[2].isdigit()):
        return Finding("ok", "gpu", line.strip())
    name, total, used, driver = parts
    # nvidia-smi counts in MiB.
    memory = (
        f"{units.nbytes(int(total) * 2**20)} of memory, {units.nbytes(int(used) * 2**20)} in use"
    )
    return Finding("ok", "gpu", f"{name}: {memory}, driver {driver}")


def _extra(extra: str, names: Sequence[str]) -> Finding:
    found = {name: _version(name) for name in names}
    present = ", ".join(f"{name} {version}" for name, version in found.items() if version)
    missing = [name for name, version in found.items() if version is None]
    if not present:
        detail = f"{', '.join(missing)} not installed; needed for {_NEEDED_FOR[extra]} only"
        todo = f"pip install 'energy-opt[{extra}]'"
        return Finding("absent", f"extra {extra}", detail, todo)
    if missing:
        todo = f"pip install {' '.join(missing)}"
        return Finding("note", f"extra {extra}", f"{present}; missing: {', '.join(missing)}", todo)
    return Finding("ok", f"extra {extra}", present)


def _ort_problem(version: str) -> str:
    spec = importlib.util.find_spec("onnxruntime")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    if not folders or not (Path(folders[0]) / "__init__.py").is_file():
        return "its files are gone (another package of the same files was removed)"
    try:
        text = (Path(folders[0]) / "__init__.py").read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        return f"its files cannot be read ({error.strerror})"
    for line in text.splitlines():
        if line.startswith("__version__"):
            inside = line.partition("=")[2].strip().strip("\"'")
            if inside[:1].isdigit() and inside != version:
                return f"the files are those of version {inside} (another package overwrote them)"
    return ""


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _nvidia_smi() -> str | None:
    return shutil.which("nvidia-smi")

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from energy_opt import doctor


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Installed distributions and their versions, as a test wants them."""
    found: dict[str, str] = {}
    monkeypatch.setattr(doctor, "_version", found.get)
    monkeypatch.setattr(doctor, "_nvidia_smi", lambda: None)
    return found


def folder(monkeypatch: pytest.MonkeyPatch, path: Path, version: str | None) -> None:
    if version is not None:
        path.mkdir()
        (path / "__init__.py").write_text(f'__version__ = "{version}"\n')
    spec = SimpleNamespace(submodule_search_locations=[str(path)])
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: spec)


def test_both_onnxruntimes_are_broken(installed: dict[str, str]) -> None:
    installed.update({"onnxruntime": "1.20.0", "onnxruntime-gpu": "1.20.1"})
    (finding,) = doctor.onnxruntime()
    assert finding.level == "broken"
    assert "overwrite each other" in finding.detail
    assert finding.todo == "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime"


def test_with_a_gpu_the_gpu_package_is_kept(
    installed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    installed.update({"onnxruntime": "1.20.0", "onnxruntime-gpu": "1.20.1"})
    monkeypatch.setattr(doctor, "_nvidia_smi", lambda: "nvidia-smi")
    assert doctor.onnxruntime()[0].todo.endswith("pip install onnxruntime-gpu")


def test_one_onnxruntime_is_fine(
    installed: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installed["onnxruntime"] = "1.20.0"
    folder(monkeypatch, tmp_path / "ort", "1.20.0")
    assert doctor.onnxruntime() == []


@pytest.mark.parametrize(
    ("files", "says"), [(None, "files are gone"), ("1.19.0", "version 1.19.0")]
)
def test_files_of_another_package_are_noticed(
    installed: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, files: str | None, says: str
) -> None:  # fmt: skip
    installed["onnxruntime"] = "1.20.0"
    folder(monkeypatch, tmp_path / "ort", files)
    (finding,) = doctor.onnxruntime()
    assert finding.level == "broken"
    assert says in finding.detail
    assert "--force-reinstall" in finding.todo


def test_no_onnxruntime_is_no_finding(installed: dict[str, str]) -> None:
    assert doctor.onnxruntime() == []


def test_a_missing_core_package_is_broken(installed: dict[str, str]) -> None:
    installed.update(dict.fromkeys(doctor._CORE, "1.0"))
    del installed["numpy"]
    core = doctor.packages()[0]
    assert (core.level, core.todo) == ("broken", "pip install numpy")


def test_gpu_memory_is_told_in_decimal_units() -> None:
    # 81559 MiB * 1048576 B = 85.5 GB; 1024 MiB = 1.07 GB
    finding = doctor._gpu("NVIDIA H100 80GB HBM3, 81559, 1024, 550.54")
    assert (
        finding.detail == "NVIDIA H100 80GB HBM3: 85.5 GB of memory, 1.07 GB in use, driver 550.54"
    )


def test_a_line_that_is_not_understood_is_shown_as_it_is() -> None:
    assert doctor._gpu("GPU, [N/A], [N/A], 1").detail == "GPU, [N/A], [N/A], 1"


def test_without_a_driver_nothing_is_wrong(installed: dict[str, str]) -> None:
    (finding,) = doctor.gpus()
    assert finding.level == "absent"


def test_an_absent_extra_says_what_it_is_for(installed: dict[str, str]) -> None:
    found = {finding.what: finding for finding in doctor.packages()}
    torch = found["extra torch"]
    assert torch.level == "absent"
    assert "PyTorch modules" in torch.detail
    assert torch.todo == "pip install 'energy-opt[torch]'"


def test_half_an_extra_is_told_apart_from_none(installed: dict[str, str]) -> None:
    installed.update({"torch": "2.13.0+cpu", "transformers": "5.23.0", "onnxscript": "0.7.2"})
    found = {finding.what: finding for finding in doctor.packages()}
    torch = found["extra torch"]
    assert torch.level == "note"
    assert "torch 2.13.0+cpu" in torch.detail
    assert torch.todo == "pip install fvcore"

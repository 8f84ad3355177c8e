"""The project around the code: what importing costs, what is public, what the files promise."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import energy_opt

ROOT = Path(__file__).resolve().parent.parent
HEAVY = [
    "onnx", "onnx_ir", "onnxruntime", "pandas", "plotly", "scipy", "statsmodels", "sympy", "torch",
]  # fmt: skip

# The public names. A change here is a change of the API: it belongs into the changelog.
API = {
    "Cost", "CrossCheck", "Device", "EnergyOptError", "Estimate", "Graph", "Measurement", "Objective", "Op", "Runtime",
    "Watch", "Work", "Workload", "__version__", "analyze", "calibrate_device", "cross_check", "devices", "from_trace",
    "load", "measure_model", "open_meter", "passes", "rule", "watch", "watch_job", "workload",
}  # fmt: skip

# Nothing of the machine that a file was made on: home folders and mounts, package indexes (the
# reader has their own), how the work was organised. `/home/me` stands for anybody's.
FORBIDDEN = {
    "a path of one machine": rb"(?<![\w.~/-])/(?:home/(?!me\b)|(?:root|opt|mnt|[w]ork|Users)/)[\w.]",
    "a temporary path": rb"(?<![\w.~-])/tmp/(?:bash|tmp|x/)",
    "a package index": rb"[p]ypi\.|[p]ythonhosted|[n]pmjs\.",
    "how it was made": rb"\b[s]ubagents?\b|\b(?:[a]nother|[t]his) session\b",
}


def tracked_files(root: Path) -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=root, capture_output=True, check=False, text=True
    )
    if listing.returncode != 0:
        pytest.skip("not a git checkout, so there is no list of tracked files")
    return [root / name for name in listing.stdout.split("\0") if name]


def loaded_by(statement: str) -> set[str]:
    """The modules in a fresh interpreter after a statement."""
    code = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False, text=True,
        timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def test_import_is_light() -> None:
    assert loaded_by("import energy_opt").isdisjoint(HEAVY)


def test_command_line_starts_light() -> None:
    assert loaded_by("import energy_opt.cli").isdisjoint(HEAVY)


def test_analysis_needs_no_fitting_and_no_runtime(examples: Path) -> None:
    model = str(examples / "resnet50.onnx")
    loaded = loaded_by(
        f"import energy_opt; energy_opt.analyze(energy_opt.load({model!r}), device='t4').to_dict()"
    )
    assert loaded.isdisjoint({"onnxruntime", "pandas", "plotly", "statsmodels", "torch"})
    assert "energy_opt.ir.rules.conv" in loaded
    assert "energy_opt.ir.rules.aten" not in loaded  # the many rules of PyTorch's operators


def test_all_is_the_public_api() -> None:
    assert set(energy_opt.__all__) == API
    assert set(dir(energy_opt)) == API
    for name in API:
        assert getattr(energy_opt, name).__doc__, f"{name} has no docstring"


def test_unknown_attribute_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        energy_opt.no_such_name  # noqa: B018


def test_version_is_the_same_everywhere(root: Path) -> None:
    version = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    assert energy_opt.__version__ == version
    assert f"## [{version}]" in (root / "CHANGELOG.md").read_text()


def test_readme_sets_up_with_two_commands(root: Path) -> None:
    blocks = re.findall(r"```bash\n(.*?)```", (root / "README.md").read_text(), re.DOTALL)
    commands = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    assert [line for line in commands if line.startswith("make")] == ["make demo", "make test"]


def test_relative_links_lead_somewhere(root: Path) -> None:
    broken = []
    for page in [*root.glob("*.md"), *(root / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(root)}: {target}")
    assert not broken


def test_decisions_are_numbered_and_listed(root: Path) -> None:
    folder = root / "docs" / "decisions"
    records = sorted(path.name for path in folder.glob("[0-9]*.md"))
    assert [int(name[:4]) for name in records] == list(range(len(records)))
    index = (folder / "README.md").read_text()
    assert [name for name in records if f"({name})" not in index] == []


@pytest.mark.parametrize("what", FORBIDDEN)
def test_files_speak_of_the_project_alone(root: Path, what: str) -> None:
    pattern = re.compile(FORBIDDEN[what])
    found = [
        f"{path.relative_to(root)}: {match.group().decode()!r}"
        for path in tracked_files(root)
        if path.is_file() and (match := pattern.search(path.read_bytes()))
    ]
    assert not found


def test_runtimes_that_overwrite_each_other_are_separate_extras(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    for extra, needs in project["optional-dependencies"].items():
        names = {re.split(r"[^\w-]", need)[0] for need in needs}
        assert not {"onnxruntime", "onnxruntime-gpu"} <= names, extra
    core = " ".join(project["dependencies"])
    assert "onnxruntime" not in core
    assert "torch" not in core

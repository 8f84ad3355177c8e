"""A calibration in a process of its own that is killed at random moments: benchmarks/resume.py, smaller."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_no_visit_is_lost_or_made_twice_and_the_profile_is_the_same(
    root: Path, tmp_path: Path
) -> None:
    script = root / "benchmarks" / "resume.py"
    if not script.exists():
        pytest.skip("benchmarks are not part of this distribution")
    rows = tmp_path / "rows.json"
    options = "--kills 2 --runs 1 --points 36 --json".split()
    command = [sys.executable, script, *options, rows]
    made = subprocess.run(command, cwd=root, env={"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
                          capture_output=True, text=True, timeout=300, check=False)  # fmt: skip
    assert made.returncode == 0, made.stderr
    found = {row["quantity"]: row for row in json.loads(rows.read_text())}
    assert found["visits_lost"]["n"] == 2
    assert {row["value"] for row in found.values()} == {0}

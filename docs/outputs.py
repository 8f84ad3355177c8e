"""Keep the outputs shown in the documentation true: `make docs` runs their commands and writes them anew.

A shown output is a fenced `text` block under a comment that says its command:

    <!-- output of: energy-opt devices t4 -->
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = (
    "README.md", "docs/guide.md", "docs/frontends.md", "docs/custom-ops.md", "docs/calibration.md",
)  # fmt: skip
SHOWN = re.compile(
    r"(?P<head><!-- output of: (?P<command>.+?) -->\n```text\n)(?P<body>.*?)```", re.DOTALL
)
COMMAND = """#!/bin/sh
exec "{python}" -c 'from energy_opt.cli import main; main()' "$@"
"""


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """What a shell command does in a folder that holds `examples/`, with `energy-opt` on the path."""
    binary = folder / ".bin" / "energy-opt"
    if not binary.exists():
        binary.parent.mkdir()
        binary.write_text(COMMAND.format(python=sys.executable))
        binary.chmod(0o755)
        (folder / "examples").symlink_to(ROOT / "examples")
    path = os.pathsep.join(
        [str(binary.parent), str(Path(sys.executable).parent), os.environ["PATH"]]
    )
    plain = {name: value for name, value in os.environ.items() if name not in {"FORCE_COLOR", "CI"}}
    environment = plain | {"PATH": path, "COLUMNS": "100", "NO_COLOR": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def refreshed(page: str, folder: Path) -> str:
    """The page's text with every shown output as its command prints it today."""

    def output(match: re.Match[str]) -> str:
        done = run(match["command"], folder)
        if done.returncode != 0:
            raise RuntimeError(f"{match['command']}: exit {done.returncode}\n{done.stderr}")
        lines = [line.rstrip() for line in done.stdout.strip("\n").splitlines()]
        return match["head"] + "\n".join(lines) + "\n```"

    return SHOWN.sub(output, (ROOT / page).read_text(encoding="utf-8"))


def main() -> None:
    """Rewrite the pages in place."""
    with tempfile.TemporaryDirectory() as folder:
        for page in PAGES:
            (ROOT / page).write_text(refreshed(page, Path(folder)), encoding="utf-8")


if __name__ == "__main__":
    main()

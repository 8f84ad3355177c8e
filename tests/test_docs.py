"""The documentation does what it says: its examples run, and the outputs it shows are today's.

Every fenced `bash` and `python` block of the pages runs, in order, unless `<!-- not run: why -->` stands above it.
The Python blocks of a page share their names, as in one interpreter.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

import energy_opt.ir.rules.aten  # noqa: F401  (before the registry is put aside)
from docs.outputs import PAGES, refreshed, run
from energy_opt.ir.rules import RULES

BLOCK = re.compile(
    r"(?P<skip><!-- not run: .+? -->\n)?^```(?P<language>bash|python)\n(?P<code>.*?)^```",
    re.M | re.S,
)


class Block(NamedTuple):
    line: int
    language: str
    code: str


def blocks(root: Path, page: str) -> list[Block]:
    text = (root / page).read_text(encoding="utf-8")
    return [
        Block(text.count("\n", 0, match.start("code")) + 1, match["language"], match["code"])
        for match in BLOCK.finditer(text)
        if not match["skip"]
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("docs")


@pytest.fixture(autouse=True)
def _rules_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("energy_opt.ir.rules.registry.RULES", dict(RULES))


@pytest.mark.parametrize("page", PAGES)
def test_examples_run(page: str, root: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names: dict[str, object] = {"__name__": "__main__"}
    run("true", folder)
    monkeypatch.chdir(folder)
    found = blocks(root, page)
    assert found, f"{page} has no example that runs"
    if any("torch" in block.code or " hf:" in block.code for block in found):
        pytest.importorskip("torch", reason="needs PyTorch: pip install 'energy-opt[torch]'")
    for block in found:
        where = f"{page}:{block.line}"
        if block.language == "bash":
            done = run(block.code, folder)
            assert done.returncode == 0, f"{where}\n{block.code}\n{done.stderr}"
        else:
            exec(compile("\n" * (block.line - 1) + block.code, where, "exec"), names)


@pytest.mark.parametrize("page", PAGES)
def test_shown_outputs_are_true(page: str, root: Path, folder: Path) -> None:
    shown = (root / page).read_text(encoding="utf-8")
    assert shown == refreshed(page, folder), "run `make docs` and look at what changed"

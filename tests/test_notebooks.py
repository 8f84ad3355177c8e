"""The notebooks run from top to bottom, and show what they say.

Their code cells are plain Python, so they are executed here one after the other in one namespace. Jupyter's own runner
would start a kernel in another process and talk to it over sockets, for which it brings 25 packages more.
"""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("optuna")

import energy_opt as eo

EXAMPLES = Path(__file__).parent.parent / "examples"


def cells(path: Path) -> list[dict[str, Any]]:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = notebook["cells"]
    return found


def executed(path: Path) -> tuple[dict[str, Any], str]:
    """What the notebook defines, and what it prints."""
    names: dict[str, Any] = {"__name__": "__main__"}
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        for number, cell in enumerate(cells(path)):
            if cell["cell_type"] == "code":
                exec(compile("".join(cell["source"]), f"{path.name}, cell {number}", "exec"), names)
    return names, said.getvalue()


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_is_stored_with_what_it_printed(path: Path) -> None:
    code = [cell for cell in cells(path) if cell["cell_type"] == "code"]
    assert any(output["output_type"] == "stream" for cell in code for output in cell["outputs"])
    for cell in code:
        for output in cell["outputs"]:
            assert output["output_type"] != "error"
            assert output.get("name") != "stderr"


def test_the_architecture_search() -> None:
    names, said = executed(EXAMPLES / "architecture_search.ipynb")
    study, front, budget_j = names["study"], names["front"], names["BUDGET_J"]
    assert len(study.trials) == 300
    assert all(trial.state.name == "COMPLETE" for trial in study.trials)

    # The front: within the budget, and every step to a lower loss costs more.
    losses, joules = zip(*(trial.values for trial in front), strict=True)
    assert len(front) >= 10
    assert max(joules) <= budget_j
    assert list(losses) == sorted(losses, reverse=True)
    # Only a candidate that breaks a limit may be better than one on it.
    for trial in study.trials:
        if all(share <= 0 for share in trial.constraints.values()):
            loss, energy_j = trial.values
            assert any(a <= loss and b <= energy_j for a, b in zip(losses, joules, strict=True))

    # What the search was told is what anybody is told who asks about the winner.
    best = front[-1]
    alone = eo.analyze(
        names["build"](**best.params), names["objective"].inputs, device="t4", runtime="graph",
        precision="fp16",
    )  # fmt: skip
    assert alone.energy_j / names["BATCH"] == pytest.approx(best.values[1])
    assert f"searched, for the budget    : {best.values[0]:.3f} nats" in said
    low, high = alone.energy_j_interval
    assert low < alone.energy_j < high

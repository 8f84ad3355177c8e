"""Which architectures of transformers load from their defaults alone, and what the others say.

    python benchmarks/architectures.py [NAME ...] [--json FILE] [--seconds 60]

Every name that `hf:NAME` can have is loaded with two layers where its config takes that (else as it is). `recorded` is
the fast way, `exported` the announced fallback to torch.export; what the others say is quoted.
"""

from __future__ import annotations

import argparse
import collections
import json
import signal
import sys
import time
import warnings
from pathlib import Path
from types import FrameType
from typing import Any

from energy_opt.errors import EnergyOptError, UsageError
from energy_opt.frontend import huggingface


class _Late(BaseException):
    """A model took too long. No Exception, which a front-end that tries several ways may catch."""


_SHALLOW = ("num_hidden_layers", "encoder_layers", "decoder_layers")
_SHALLOW += tuple(f"{part}_config.num_hidden_layers" for part in ("text", "vision", "audio"))


def names() -> list[str]:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    return list(dict.fromkeys(CONFIG_MAPPING.keys()))


def load(name: str) -> dict[str, Any]:
    """One row: how it went, with what class and how many ops, or what it said."""
    row: dict[str, Any] = {"benchmark": "architectures", "name": name}
    start = time.process_time()
    try:
        settings = shallow(name)
        try:
            graph = huggingface.load_config(f"hf:{name}", settings)
        except EnergyOptError:
            if not settings:
                raise
            graph = huggingface.load_config(f"hf:{name}")
    except EnergyOptError as error:
        row |= {"outcome": "refused", "says": str(error)}
    except _Late:
        row |= {"outcome": "took too long", "says": ""}
    except Exception as error:  # noqa: BLE001 - what is looked for: no other error may come through
        row |= {"outcome": "BUG", "says": f"{type(error).__name__}: {error}"}
    else:
        exported = any("torch.export" in note for note in graph.notes)
        row |= {
            "outcome": "exported" if exported else "recorded",
            "class": graph.modules.get("", ""),
            "ops": graph.model.graph.num_nodes(),
            "dims": sorted(graph.dims),
            "says": "; ".join(graph.notes),
        }
    return row | {"cpu_s": round(time.process_time() - start, 2)}


def shallow(name: str) -> dict[str, int]:
    """Two layers, where the config has such fields and they leave it consistent."""
    settings: dict[str, int] = {}
    for key in _SHALLOW:
        try:
            huggingface.prepare(f"hf:{name}", {**settings, key: 2})
        except UsageError:
            continue
        except EnergyOptError:
            break
        settings[key] = 2
    return settings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seconds", type=int, default=60, help="most seconds for one model")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, _late)
    rows = []
    for name in options.names or names():
        signal.alarm(options.seconds)
        try:
            rows.append(load(name))
        finally:
            signal.alarm(0)
        row = rows[-1] | {"says": rows[-1]["says"].partition("\n")[0]}
        print(
            *(
                str(row.get(key, ""))
                for key in ("name", "outcome", "class", "ops", "cpu_s", "says")
            ),
            sep="\t",
        )
        sys.stdout.flush()
    counts = collections.Counter(row["outcome"] for row in rows)
    print(
        ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common()),
        f"of {len(rows)}",
    )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


def _late(_number: int, _frame: FrameType | None) -> None:
    raise _Late


if __name__ == "__main__":
    main()

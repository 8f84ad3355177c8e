"""What tests of front-ends share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., str]:
    """A config.json with these fields, or this text, as a path."""

    def write(text: str | None = None, **fields: Any) -> str:
        path = tmp_path / "config.json"
        path.write_text(json.dumps(fields) if text is None else text)
        return str(path)

    return write

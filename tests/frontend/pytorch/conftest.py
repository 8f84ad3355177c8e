"""Everything here needs PyTorch. A light installation passes it over; `make test` never does (`--all-extras`)."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("torch") and find_spec("transformers") else ["test_*.py"]

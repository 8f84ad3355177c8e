"""`python -m energy_opt`: the command line."""

from __future__ import annotations

from energy_opt.cli import main

main()

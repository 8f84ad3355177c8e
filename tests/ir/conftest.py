"""Every rule is registered before any test here looks at the registry, or changes it and puts it back."""

from __future__ import annotations

import energy_opt.ir.rules.aten  # noqa: F401  (importing it registers its rules)

"""Forms of the time equation that a profile may hold per kind of work, by name."""

from __future__ import annotations

from energy_opt.estimators.forms.collective import AlphaBeta
from energy_opt.estimators.forms.flash import Decode, Flash
from energy_opt.estimators.forms.form import At, Chip, Form, Parameter, Parts
from energy_opt.estimators.forms.linear import Linear
from energy_opt.estimators.forms.moe import Experts
from energy_opt.estimators.forms.operands import Operands
from energy_opt.estimators.forms.pointwise import Pass
from energy_opt.estimators.forms.roofline import Roofline
from energy_opt.estimators.forms.stream import Stream
from energy_opt.estimators.forms.tiles import Tiles
from energy_opt.estimators.forms.winograd import Winograd

__all__ = ["FORMS", "At", "Chip", "Form", "Parameter", "Parts"]

_ALL: tuple[Form, ...] = (
    Linear(),
    Roofline(),
    *(Flash(tile) for tile in (64, 128, 192)),
    Decode(),
    Experts(),
    Operands(),
    Pass(),
    AlphaBeta(),
    Stream(),
    Tiles("tiles"),
    Tiles("tiles-capped", capped=True),
    Tiles("tiles-scaled", scaled=True),
    Tiles("tile-128x128", ((128, 128),), wide=False),
    Tiles("tile-64x128", ((64, 128),), wide=False),
    Tiles("tiles-small", ((64, 64), (128, 32), (32, 128)), wide=False),
    Tiles("tiles-small-capped", ((64, 64), (128, 32), (32, 128)), wide=False, capped=True),
    Winograd("winograd"),
    Winograd("winograd-capped", capped=True),
)

FORMS: dict[str, Form] = {form.name: form for form in _ALL}

"""Quantities as text for people. Inside the library everything is SI; only reports call this.

Three significant digits for a value, two for the ends of an interval, and one unit for all three, so
that they can be compared at a glance: `12.3 mJ`, `8.1 to 18 mJ`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

UNKNOWN = "unknown"

_PREFIXES = (
    (1e18, "E"),
    (1e15, "P"),
    (1e12, "T"),
    (1e9, "G"),
    (1e6, "M"),
    (1e3, "k"),
    (1.0, ""),
    (1e-3, "m"),
    (1e-6, "µ"),
    (1e-9, "n"),
    (1e-12, "p"),
)


def number(value: float, digits: int = 3) -> str:
    """`value` with that many significant digits, never in scientific notation below 1e15: `0.0123`, `1,230`."""
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    if abs(value) >= 1e15:
        return f"{value:.{digits - 1}e}"
    exponent = math.floor(math.log10(abs(value)))
    rounded = round(value, digits - 1 - exponent)
    exponent = math.floor(math.log10(abs(rounded))) if rounded else exponent
    return f"{rounded:,.{max(0, digits - 1 - exponent)}f}"


def si(value: float | None, unit: str, digits: int = 3, *, smallest: float = 1e-12) -> str:
    """`value` with the SI prefix that leaves 1 to 999 before the unit: `12.3 mJ`.

    `smallest` is the finest prefix that makes sense for the unit; counts pass 1.
    """
    if value is None:
        return UNKNOWN
    scale, prefix = _prefix(value, digits, smallest)
    return f"{number(value / scale, digits)} {prefix}{unit}".rstrip()


def bounds(
    value: float | None, interval: Sequence[float | None] | None, unit: str, digits: int = 3
) -> str:
    """The interval alone in the unit that `si` gives `value`: `8.1 to 18 mJ`; empty where there is none."""
    if value is None or interval is None or len(interval) != 2:
        return ""
    low, high = interval
    if low is None or high is None:
        return ""
    scale, prefix = _prefix(value, digits, 1e-12)
    return f"{number(low / scale, 2)} to {number(high / scale, 2)} {prefix}{unit}"


def energy(value_j: float | None) -> str:
    """Joules as text: `12.3 mJ`."""
    return si(value_j, "J")


def time(value_s: float | None) -> str:
    """Seconds as text: `12.3 ms`; from two minutes on as minutes, hours or days."""
    if value_s is None or not math.isfinite(value_s) or value_s < 120:
        return si(value_s, "s")
    for scale, unit in ((86400.0, "days"), (3600.0, "h"), (60.0, "min")):
        if value_s >= 2 * scale:
            return f"{number(value_s / scale)} {unit}"
    return si(value_s, "s")


def power(value_w: float | None) -> str:
    """Watts as text: `66.1 W`."""
    return si(value_w, "W")


def nbytes(value: float | None) -> str:
    """Bytes as text in decimal units: `438 MB`."""
    return si(value, "B", smallest=1.0)


def flop(value: float | None) -> str:
    """A count of floating-point operations: `44.7 GFLOP`."""
    return si(value, "FLOP", smallest=1.0)


def flop_rate(value: float | None) -> str:
    """A rate of floating-point operations: `8.10 TFLOP/s`."""
    return si(value, "FLOP/s", smallest=1.0)


def byte_rate(value: float | None) -> str:
    """A memory bandwidth: `320 GB/s`."""
    return si(value, "B/s", smallest=1.0)


def macs(value: float | None) -> str:
    """A count of multiply-accumulates: `22.4 GMACs`."""
    return si(value, "MACs", smallest=1.0)


def count(value: float | None) -> str:
    """A large count, such as parameters: `109 M`."""
    return si(value, "", smallest=1.0)


def kwh(value_kwh: float | None) -> str:
    """Kilowatt-hours as text: `12.3 kWh`, small ones as `12.3 Wh`."""
    return si(None if value_kwh is None else value_kwh * 1e3, "Wh")


def co2e(value_g: float | None) -> str:
    """Grams of CO2 equivalents as text: `120 g CO2e`, `1.20 kg CO2e`, `3.40 t CO2e`."""
    if value_g is None:
        return UNKNOWN
    for scale, unit in ((1e6, "t"), (1e3, "kg")):
        if abs(value_g) >= scale * 0.9995:
            return f"{number(value_g / scale)} {unit} CO2e"
    return f"{si(value_g, 'g')} CO2e"


def usd(value: float | None) -> str:
    """US dollars as text: `12.30 USD`; under a cent with two significant digits."""
    if value is None:
        return UNKNOWN
    if value != 0 and abs(value) < 0.01:
        return f"{number(value, 2)} USD"
    return f"{value:,.2f} USD"


def share(fraction: float | None) -> str:
    """A part of a whole as a percentage: `41 %`, `0.3 %`, `<0.1 %`."""
    if fraction is None or not math.isfinite(fraction):
        return ""
    percent = 100 * fraction
    if 0 < percent < 0.1:
        return "<0.1 %"
    return f"{percent:.1f} %" if percent < 9.95 else f"{percent:.0f} %"


def signed(fraction: float | None, digits: int = 0) -> str:
    """A relative difference as a percentage with its sign: `+12 %`, `-0.3 %`; empty where it is not known."""
    return "" if fraction is None else f"{100 * fraction:+.{digits}f} %"


def _prefix(value: float, digits: int, smallest: float) -> tuple[float, str]:
    if value == 0 or not math.isfinite(value):
        return 1.0, ""
    # A value that rounds up to 1000 already belongs to the next prefix: 999.96 is 1.00 k.
    magnitude = abs(value) * (1 + 0.5 * 10 ** -float(digits))
    for scale, prefix in _PREFIXES:
        if magnitude >= scale or scale <= smallest:
            return scale, prefix
    return _PREFIXES[-1]

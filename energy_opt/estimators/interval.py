"""Intervals from joint draws: the same draw of a coefficient is used wherever the coefficient is."""

from __future__ import annotations

import functools
import math
import zlib
from statistics import NormalDist
from typing import Any

import numpy as np

LEVEL = 0.9
"""Share of the outcomes that an interval is meant to hold."""

DRAWS = 256
"""Number of joint draws where a profile does not bring its own."""

Array = np.ndarray[Any, np.dtype[np.float64]]

_SHUFFLES = 4096


def normals(name: str, draws: int = DRAWS) -> Array:
    """Standard normal draws[draws] that belong to the name: the same in every run, and in every model.

    They are stratified, so that each name's sample has exact quantiles, and antithetic, so that its mean is 0.
    """
    # A checksum, unlike hash(), does not change from process to process.
    sample: Array = _shuffles(draws)[zlib.crc32(name.encode()) % _SHUFFLES]
    return sample


@functools.cache
def _shuffles(draws: int) -> Array:
    """`_SHUFFLES` independent orders of one stratified sample."""
    half = draws // 2
    inverse = NormalDist().inv_cdf
    scores = np.array([inverse((index + 0.5) / draws) for index in range(draws)])
    random = np.random.default_rng(20250101)
    order = random.random((_SHUFFLES, half)).argsort(axis=1)
    signs = random.choice(np.array([-1.0, 1.0]), size=(_SHUFFLES, half))
    upper = scores[draws - half :][order] * signs
    middle = np.zeros((_SHUFFLES, draws - 2 * half))
    return np.concatenate([upper, middle, -upper], axis=1)


def lognormal(name: str, spread: float, draws: int = DRAWS) -> Array:
    """Factors[draws] around 1 whose logarithm has that standard deviation."""
    return np.asarray(np.exp(spread * normals(name, draws)))


def interval(value: Any, drawn: Any, *, widen: float = 1.0, least: Any = 0.0) -> tuple[Any, Any]:
    """The central `LEVEL` of the draws along the first axis, widened in logarithm, around the value.

    It always contains the value, and its lower end is never under `least`.
    """
    low, high = _ends(drawn)
    if drawn.ndim == 1:  # the usual case, thousands of times: plain floats are ten times as fast
        least = float(least)
        low, high = _widened(low, value, widen), _widened(high, value, widen)
        return min(max(low, least), value), max(high, value)
    if widen != 1.0:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            low = np.where(low > 0, value * (low / value) ** widen, low)
            high = np.where(high > 0, value * (high / value) ** widen, high)
    low = np.minimum(np.maximum(np.nan_to_num(low), least), value)
    return low, np.maximum(np.nan_to_num(high, posinf=np.inf), value)


def _ends(drawn: Any) -> tuple[Any, Any]:
    """The quantiles that leave out as much below as above, interpolated between draws."""
    ordered = np.sort(drawn, axis=0)
    place = (1 - LEVEL) / 2 * (len(ordered) - 1)
    whole = int(place)
    part = place - whole
    if not part:
        return ordered[whole], ordered[-1 - whole]
    low = ordered[whole] * (1 - part) + ordered[whole + 1] * part
    return low, ordered[-1 - whole] * (1 - part) + ordered[-2 - whole] * part


def _widened(end: Any, value: Any, by: float) -> float:
    found, centre = float(end), float(value)
    if by == 1.0 or found <= 0 or centre <= 0:
        return found
    try:
        return float(centre * (found / centre) ** by)
    except OverflowError:
        return math.inf


def difference(first: Array, second: Array, central: float) -> tuple[float, float]:
    """The interval of `first - second`, draw by draw; it contains the central difference."""
    low, high = _ends(first - second)
    return min(float(low), central), max(float(high), central)

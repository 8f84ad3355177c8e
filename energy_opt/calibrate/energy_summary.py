"""What statsmodels says of an energy fit: coefficients and intervals, as text that a profile keeps."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from energy_opt.calibrate.energy_solver import NAMES, SATURATED, Array, Readings
from energy_opt.calibrate.samples import Samples
from energy_opt.estimators.forms import energy as energy_form


def summary_text(
    samples: Samples, readings: Readings, at: Array, units: Mapping[str, float]
) -> str:
    """Ordinary least squares in relative error of the coefficients that are not 0, on the readings below the cap.

    Its values differ from the fit's, which is robust and counts the readings at the cap; the intervals are what to
    read. Coefficients that these readings cannot tell apart have none.
    """
    below = readings.power_w < SATURATED * readings.cap_w
    part = readings.take(below)
    used = [column for column, value in enumerate(at) if value > 0]
    lines = [
        f"energy: {len(samples)} samples of {samples.kind} in {samples.dtype}, {int(np.sum(~below))} of them at the "
        f"power cap of {readings.cap_w:.4g} W",
        f"{'coefficient':16s} {'unit':8s} {'value':>11s} {'OLS 2.5 %':>11s} {'OLS 97.5 %':>11s}",
    ]
    unit_of = {p.name: p.unit for p in energy_form.PARAMETERS}
    intervals, last = _intervals(part, used, at)
    for index, column in enumerate(used):
        name, size = NAMES[column], units[NAMES[column]]
        row = f"{name:16s} {unit_of[name]:8s} {at[column] * size:11.4g}"
        if intervals is not None:
            row += f" {intervals[index][0] * size:11.4g} {intervals[index][1] * size:11.4g}"
        lines.append(row)
    lines.append(last)
    left = [name for column, name in enumerate(NAMES) if column not in used]
    if left:
        lines.append("at 0, or not settled by these samples: " + ", ".join(left))
    return "\n".join(lines)


def _intervals(part: Readings, used: list[int], at: Array) -> tuple[Array | None, str]:
    """The 95 % intervals `[used, 2]` in fractions of the device, or none; and a line on the fit as a whole."""
    import statsmodels.api as sm

    own = (1 - part.idle_share) / part.power_w
    design = part.rates[:, used] * part.unit_w * own[:, None]
    goal = 1 - part.idle_share * part.idle_w / part.power_w
    # In units of the fit's own values: J/FLOP and W differ by fifteen orders of magnitude.
    scaled = design * np.abs(at[used])
    if len(design) <= len(used) or np.linalg.matrix_rank(scaled, tol=1e-6 * len(design)) < len(
        used
    ):
        return None, "no intervals: these readings cannot tell the coefficients apart"
    result = sm.OLS(goal, scaled).fit()
    interval = np.asarray(result.conf_int(), dtype=np.float64) * np.abs(at[used])[:, None]
    power = np.log(part.power_w)
    error = np.log(part.predicted(at)) - power
    spread = float(np.var(power))
    r2 = 1 - float(np.var(error)) / spread if spread > 0 else 0.0
    return (
        interval,
        f"R2 of log power {r2:.4f}, condition number {float(np.linalg.cond(scaled)):.3g}",
    )

"""Events of a watched job, one line each."""

from __future__ import annotations

import json
from typing import Any

from energy_opt import units
from energy_opt.report.escape import plain

_SAYS = {
    "reading": "",
    "drift": "DRIFT: outside for {outside} windows in a row",
    "back": "back inside the expected range",
}


def as_text(event: Any, expected: Any) -> str:
    """The event as a person reads it: when, how much, and what that means."""
    when = f"{units.time(event.time_s):>10}"
    if event.power_w is None:
        return f"{when}  {event.kind}: {plain(event.reason, 300)}"
    ends = units.bounds(expected.power_w, (expected.low_w, expected.high_w), "W")
    if event.kind == "reading":
        where = "outside" if event.outside else "inside"
        return f"{when}  {units.power(event.power_w)}, {where} {ends}"
    return f"{when}  {_SAYS[event.kind].format(outside=event.outside)}: {units.power(event.power_w)}, expected {ends}"


def as_json(event: Any, expected: Any) -> str:
    """The event as one line of JSON, schema `energy-opt/watch/1`."""
    return json.dumps(
        {
            "schema": "energy-opt/watch/1",
            "event": event.kind,
            "time_s": event.time_s,
            "power_w": event.power_w,
            "expected_power_w": expected.power_w,
            "expected_power_w_interval": [expected.low_w, expected.high_w],
            "windows_outside": event.outside,
            "reason": event.reason,
        }
    )

"""Understanding what a user calls a device, and saying what is wrong with a file."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from pydantic import ValidationError

from energy_opt.errors import DeviceError


def find(wanted: str, names: Sequence[str]) -> str:
    """The one of the names that is meant: a unique prefix, without the maker, or with a letter wrong.

    Raises:
        DeviceError: none is near, or several are as near; it says which. Or it is another file than a profile.
    """
    if wanted in names:
        return wanted
    if re.search(r"[/\\]|\.(csv|gz|jsonl|txt|ya?ml|html)$", wanted):
        raise DeviceError(
            f"device {wanted!r} is not a profile: give a name (`energy-opt devices` lists them) or the path of a "
            "profile, FILE.json"
        )
    squeezed = {re.sub(r"[^a-z0-9]", "", name): name for name in names}
    plain = re.sub(r"[^a-z0-9]", "", wanted)
    if plain in squeezed:
        return squeezed[plain]
    # "nvidia-t4", "tesla-v100-...", "intel xeon ...": the maker is no part of our names.
    plain = re.sub(r"^(nvidia|tesla|geforce|intel|amd|aws)+", "", plain)
    matches = [name for key, name in squeezed.items() if plain and key.startswith(plain)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise DeviceError(f"device {wanted!r} may be any of {', '.join(matches)}: say which")
    near = difflib.get_close_matches(plain, squeezed, n=3, cutoff=0.6)
    # A slip in a letter is understood; one in a digit would be another part, so it is only suggested.
    sure = [
        key
        for key in difflib.get_close_matches(plain, squeezed, n=4, cutoff=0.85)
        if re.findall(r"\d+", key) == re.findall(r"\d+", plain)
    ]
    if len(sure) == 1:
        return squeezed[sure[0]]
    if near:
        hint = f"did you mean {' or '.join(squeezed[key] for key in near)}? `energy-opt devices` lists all"
    else:
        hint = f"there are {', '.join(names)}"
    raise DeviceError(f"device {wanted!r} is not known; {hint}; or give a profile as FILE.json")


def explain(error: ValidationError) -> str:
    """Where a record is wrong first, why, and the value got."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "the profile"
    got = first.get("input")
    value = f", got {got!r}"[:80] if isinstance(got, (str, int, float, bool, type(None))) else ""
    more = error.error_count() - 1
    return f"{where}: {first['msg']}{value}" + (f" (and {more} more)" if more else "")

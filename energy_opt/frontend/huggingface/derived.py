"""What a config derives from other fields follows them when a setting changes those."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from energy_opt.frontend.huggingface.build import quiet
from energy_opt.frontend.huggingface.settings import nested_class

MOST_LAYERS = 10_000
"""The deepest published model has a few hundred."""

_DEPTHS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers")


def follow(
    before: Mapping[str, Any],
    after: dict[str, Any],
    config_class: Any,
    settings: Mapping[str, Any],
    notes: list[str],
) -> None:
    """Change fields of `after` that the settings leave alone, but that were derived from those that they change.

    `before` are the fields without the settings. Notes say what was changed.
    """
    _follow_depth(before, after, config_class, settings, notes)
    _follow_sizes(before, after, config_class, settings, notes)
    for name, value in before.items():
        inner = after.get(name)
        if isinstance(value, dict) and isinstance(inner, dict) and inner != value:
            nested = nested_class(config_class, name, inner)
            prefix = f"{name}."
            own = {
                key.removeprefix(prefix): v for key, v in settings.items() if key.startswith(prefix)
            }
            if nested is not None and own:
                follow(value, inner, nested, own, notes)


def _follow_depth(
    before: Mapping[str, Any],
    after: dict[str, Any],
    config_class: Any,
    settings: Mapping[str, Any],
    notes: list[str],
) -> None:
    """Lists with something for each layer get as many as there are layers."""
    aliases = getattr(config_class, "attribute_map", {})
    for name in {aliases.get(depth, depth) for depth in _DEPTHS}:
        old, new = before.get(name), after.get(name)
        if not (isinstance(old, int) and isinstance(new, int)) or old == new or new < 1:
            continue
        for key, value in list(after.items()):
            if isinstance(value, list) and len(value) == old > 1 and key not in settings:
                after[key] = _repeated(value, min(new, MOST_LAYERS))
                how = "cut" if new < old else "continued"
                notes.append(f"{key} lists {old} layers in the config; it was {how} to {new}")


def _repeated(layers: list[Any], count: int) -> list[Any]:
    """The list cut, or continued with the shortest pattern that it repeats."""
    length = len(layers)
    period = next(p for p in range(1, length + 1) if layers[p:] == layers[: length - p])
    return [layers[i] if i < length else layers[i % period] for i in range(count)]


def _follow_sizes(
    before: Mapping[str, Any],
    after: dict[str, Any],
    config_class: Any,
    settings: Mapping[str, Any],
    notes: list[str],
) -> None:
    """Sizes that say what would have been derived without them (head_dim = hidden_size / heads) are derived again."""
    stated = {
        field.name: before[field.name]
        for field in dataclasses.fields(config_class)
        if field.default is None
        and isinstance(before.get(field.name), int)
        and not isinstance(before[field.name], bool)
        and after.get(field.name) == before[field.name]
        and field.name not in settings
    }
    if not stated:
        return
    try:
        with quiet():
            free = config_class.from_dict({k: v for k, v in before.items() if k not in stated})
    except Exception:  # noqa: BLE001 - a config that needs all of its fields derives none
        return
    for name, value in stated.items():
        if getattr(free, name, None) != value:
            continue
        del after[name]
        try:
            with quiet():
                new = getattr(config_class.from_dict(dict(after)), name, None)
        except Exception:  # noqa: BLE001 - the settings are at odds; making the config says how
            continue
        if new != value:
            notes.append(f"{name} follows the settings: {new} instead of {value}")

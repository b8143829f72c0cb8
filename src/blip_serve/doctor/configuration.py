"""The configuration as it was resolved: where it differs from the defaults. Secrets stay masked."""

from collections.abc import Iterator, Mapping
from typing import Any

from blip_serve.doctor.check import Check, measured
from blip_serve.settings import Settings

PART = "settings"
LONGEST = 200
"""Characters of a value that are shown."""


def configuration(settings: Settings) -> Iterator[Check]:
    """A row for each key whose value is not its default."""
    defaults = _flat({name: field.get_default() for name, field in Settings.model_fields.items()})
    found = _flat({name: getattr(settings, name) for name in Settings.model_fields})
    different = [name for name in found if found[name] != defaults.get(name)]
    for name in different:
        yield measured(PART, name, _shown(found[name]), f"default: {_shown(defaults.get(name))}")
    if not different:
        yield measured(PART, "every key", "its default")


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values by their whole key. A section is a pydantic model."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if hasattr(value, "model_fields_set"):
            inner = {key: getattr(value, key) for key in type(value).model_fields}
            flat |= _flat(inner, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return _cut(", ".join(str(getattr(each, "id", getattr(each, "name", each))) for each in value) or "none")
    return "none" if value is None else _cut(str(value))


def _cut(text: str) -> str:
    return f"{text[:LONGEST]}..." if len(text) > LONGEST else text

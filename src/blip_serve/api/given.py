"""Texts that a request gives to choose the answer from: as in vLLM's `guided_choice`, or a JSON schema of one enum."""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar

from pydantic_core import from_json

from blip_serve.api.body import check_cost
from blip_serve.domain import Caption
from blip_serve.errors import InvalidInput
from blip_serve.settings import HARD_LIMIT
from blip_serve.tasks.generate import Given

T = TypeVar("T")
Texts = tuple[Given, ...]

TYPES: Mapping[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "null": lambda value: value is None,
}
"""The types of JSON Schema that a text can stand for, and whether a value is of one."""
SCHEMA_KEYS = frozenset({"enum", "type", "title", "description", "$schema", "$id", "examples"})
"""Keys that a schema of one enum may have. All others would constrain more than the values."""
WITHOUT_EFFECT = frozenset(
    {"backend", "disable_additional_properties", "disable_any_whitespace", "disable_fallback", "whitespace_pattern"}
)
"""Keys of vLLM's `structured_outputs` that change nothing where the output is one of several texts."""


def of_choice(texts: list[str] | None, param: str) -> Texts:
    """Texts to choose from; `param` is their field."""
    return tuple(Given(Caption(text, f"{param}[{i}]"), text) for i, text in enumerate(_bounded(texts or [], param)))


def of_schema(schema: Any, param: str) -> Texts:
    """The values of a JSON schema that is one enum, to be shown as JSON; a string is read as JSON text.

    Raises `InvalidInput`: `unsupported_parameter` for any other schema, naming the field of the request.
    """
    if schema is None:
        return ()
    if isinstance(schema, str):
        schema = _parsed(schema, param)
    if not isinstance(schema, dict) or not isinstance(schema.get("enum"), list) or schema.keys() - SCHEMA_KEYS:
        raise unsupported(param)
    kinds = _kinds(schema.get("type"), param)
    if not schema["enum"]:
        _invalid("An enum holds at least one value.", f"{param}.enum")
    values = _bounded(schema["enum"], f"{param}.enum")
    return tuple(_value(value, kinds, f"{param}.enum[{i}]") for i, value in enumerate(values))


def of_structured_outputs(outputs: dict[str, Any] | None) -> Texts:
    """vLLM's object: its `choice`, or its `json`."""
    given = {key: value for key, value in (outputs or {}).items() if value is not None and value is not False}
    choice, schema = given.pop("choice", None), given.pop("json", None)
    if given.keys() - WITHOUT_EFFECT or (choice is not None and schema is not None):
        raise unsupported("structured_outputs")
    if choice is None:
        return of_schema(schema, "structured_outputs.json")
    if not isinstance(choice, list) or not all(isinstance(text, str) for text in choice) or not choice:
        _invalid("Strings are expected, one at least.", "structured_outputs.choice")
    return of_choice(choice, "structured_outputs.choice")


def of_response_format(given: Any) -> Texts:
    """Chat's: `{"type": "json_schema", "json_schema": {"schema": ...}}`, or plain text."""
    match given:
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            return of_schema(schema, "response_format.json_schema.schema")
    if given not in (None, {"type": "text"}):
        raise unsupported("response_format")
    return ()


def of_text(given: Any) -> Texts:
    """The Responses interface's `text`: `{"format": {"type": "json_schema", "schema": ...}}`, or plain."""
    plain: dict[str, Any] = {"format": {"type": "text"}, "verbosity": "medium"}
    texts: Texts = ()
    if given is None:
        return ()
    if not isinstance(given, dict):
        raise unsupported("text")
    match given.get("format"):
        case {"type": "json_schema", "schema": dict(schema)} as form:
            texts, plain["format"] = of_schema(schema, "text.format.schema"), form
    if any(value not in (None, plain.get(key)) for key, value in given.items()):
        raise unsupported("text")
    return texts


def only_one(named: Mapping[str, Texts]) -> Texts:
    """The texts of the one field that has some. Raises `InvalidInput` where several have, naming the last."""
    given = {name: texts for name, texts in named.items() if texts}
    if len(given) > 1:
        _invalid(f"{' and '.join(map(repr, given))} are given; give one.", list(given)[-1])
    return next(iter(given.values()), ())


def unsupported(param: str) -> InvalidInput:
    """The refusal of a constraint that is not a choice of given texts; it names the request's field."""
    name = param.partition(".")[0]
    return InvalidInput(
        f"'{name}' is not supported with this value: these models write plain text, or choose one of given texts "
        "(a JSON schema of one enum, {\"enum\": [...]}, or 'guided_choice').",
        code="unsupported_parameter",
        param=name,
    )


def _bounded(values: list[T], param: str) -> list[T]:
    """Refuses more values than any setting allows, before they are converted: this runs on the event loop."""
    if len(values) > HARD_LIMIT:
        raise InvalidInput(f"'{param}' has too many entries.", code="too_many_choices", param=param)
    return values


def _parsed(text: str, param: str) -> Any:
    try:
        check_cost(text.encode(), HARD_LIMIT)  # escapes hid from the check of the body how many values it holds
    except InvalidInput:
        _invalid(f"The schema has over {HARD_LIMIT} values.", param)
    try:
        return from_json(text, allow_inf_nan=False)
    except ValueError:
        _invalid("The schema is not valid JSON.", param)


def _kinds(named: Any, param: str) -> list[str]:
    """The types that a schema names; every type where it names none."""
    kinds = [named] if isinstance(named, str) else list(TYPES) if named is None else named
    if not isinstance(kinds, list) or not all(isinstance(kind, str) and kind in TYPES for kind in kinds):
        raise unsupported(param)
    return kinds


def _value(value: Any, kinds: list[str], param: str) -> Given:
    if not any(TYPES[kind](value) for kind in kinds) or (isinstance(value, float) and not math.isfinite(value)):
        _invalid(f"A value of the schema's type is expected ({', '.join(kinds)}).", param)
    shown = json.dumps(value, ensure_ascii=False)
    return Given(Caption(value if isinstance(value, str) else shown, param), shown)


def _invalid(message: str, param: str) -> NoReturn:
    raise InvalidInput(message, param=param)

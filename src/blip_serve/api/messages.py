"""The messages of a chat or a response: the last text of the user, its image, and all that has no effect."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from blip_serve.api.body import unknown_parameter
from blip_serve.api.inputs import is_image, read_content, read_part
from blip_serve.domain import Caption
from blip_serve.errors import InvalidInput
from blip_serve.images.reference import ImageSource
from blip_serve.settings import History

MAX_MESSAGES = 1000
"""Messages that a request may hold. Only the user's last one has an effect."""
WITHOUT_EFFECT = ("system", "developer")
OTHERS_TURNS = ("assistant", "tool", "function")
OTHER_ITEMS = frozenset(
    {
        "additional_tools",
        "apply_patch_call",
        "apply_patch_call_output",
        "code_interpreter_call",
        "compaction",
        "compaction_trigger",
        "computer_call",
        "computer_call_output",
        "configuration_update",
        "custom_tool_call",
        "custom_tool_call_output",
        "file_search_call",
        "function_call",
        "function_call_output",
        "image_generation_call",
        "item_reference",
        "local_shell_call",
        "local_shell_call_output",
        "mcp_approval_request",
        "mcp_approval_response",
        "mcp_call",
        "mcp_list_tools",
        "program",
        "program_output",
        "reasoning",
        "shell_call",
        "shell_call_output",
        "tool_search_call",
        "tool_search_output",
        "web_search_call",
    }
)
"""Items other than messages that an input of the Responses interface may hold. None of them has an effect."""


@dataclass(frozen=True, slots=True)
class Grammar:
    """How an interface writes messages.

    `field`: the field that holds them. `keys`: the keys of a message that is read. `items`: other items beside them.
    """

    field: str
    keys: frozenset[str]
    items: frozenset[str] = frozenset()


CHAT = Grammar("messages", frozenset({"role", "content", "name"}))
RESPONSES = Grammar("input", frozenset({"type", "id", "role", "content", "status", "phase"}), OTHER_ITEMS)

T = TypeVar("T")
Message = tuple[str, dict[str, Any]]
"""A message and its path in the request."""


def read_messages(
    messages: Sequence[dict[str, Any]], grammar: Grammar, history: History
) -> tuple[ImageSource, Caption]:
    """The image and the text that a conversation ends with. The text may be blank.

    The user's last turn counts: messages of the user that follow each other. Of these the last text and the last image
    are taken. If the turn has no image, the most recent one before it is.

    Nothing else has an effect. Of earlier messages only the shape is checked, and their images are not read. With the
    history `refuse` earlier messages are refused.

    The models read one image and one text. A second image in a message, or one in a system message, is refused. Raises
    `InvalidInput` naming the message, the part or the key at fault.
    """
    turns: list[list[Message]] = [[]]
    for i, message in enumerate(messages):
        path = f"{grammar.field}[{i}]"
        role = _role(message, path, grammar.items)
        if role in WITHOUT_EFFECT:
            _check_text_only(message, path)
            _check_keys(message, path, grammar.keys)
            continue
        if role not in grammar.items:
            _check_shape(message, path)
        if role == "user":
            turns[-1].append((path, message))
        elif history == "refuse":
            _unsupported(f"This service reads no conversation, and no '{role}': send the user's message alone.", path)
        else:
            turns.append([])
    *earlier, last = [turn for turn in turns if turn] or [[]]
    if not last:
        raise InvalidInput(
            f"'{grammar.field}' holds no user message with an image.",
            code="missing_required_parameter",
            param=grammar.field,
        )
    if history == "refuse" and len(last) > 1:
        _unsupported("This service reads no conversation: send the user's message alone, with its image.", last[0][0])
    for path, message in last:
        _check_keys(message, path, grammar.keys)
    return _asked(last, [message for turn in earlier for message in turn])


def _asked(last: Sequence[Message], earlier: Sequence[Message]) -> tuple[ImageSource, Caption]:
    """The image and the text of the user's last turn. Several texts of one message are joined by a space."""
    contents = [read_content(message.get("content"), f"{path}.content") for path, message in reversed(last)]
    images = _first([[part for part in parts if not isinstance(part, Caption)] for parts in contents])
    texts = _first([[part for part in parts if isinstance(part, Caption)] for parts in contents])
    path = f"{last[-1][0]}.content"
    if len(images) > 1:
        raise InvalidInput(
            f"{len(images)} images; the models read one.",
            code="too_many_images",
            param=images[1].param.rpartition("]")[0] + "]",
        )
    image = images[0] if images else _most_recent(earlier)
    if image is None:
        raise InvalidInput("The user's message holds no image.", code="missing_required_parameter", param=path)
    return image, texts[0] if len(texts) == 1 else Caption(_joined(texts), path)


def _first(lists: Sequence[list[T]]) -> list[T]:
    """The first list that is not empty; an empty one where all are."""
    return next(filter(None, lists), [])


def _most_recent(messages: Sequence[Message]) -> ImageSource | None:
    """The last image of earlier messages; nothing else in them is read."""
    parts = (part for message in reversed(messages) for part in reversed(list(_parts(*message))))
    path, part = next(((path, part) for path, part in parts if is_image(part)), ("", None))
    found = None if part is None else read_part(part, path)
    return None if isinstance(found, Caption) else found


def _parts(path: str, message: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    content = message.get("content")
    for i, part in enumerate(content if isinstance(content, list) else ()):
        yield f"{path}.content[{i}]", part


def _joined(texts: Sequence[Caption]) -> str:
    return " ".join(text.text for text in texts if text.text.strip())


def _check_text_only(message: dict[str, Any], path: str) -> None:
    for i, part in enumerate(read_content(message.get("content"), f"{path}.content")):
        if not isinstance(part, Caption):
            _unsupported("Only the user's message may hold an image.", f"{path}.content[{i}]")


def _check_shape(message: dict[str, Any], path: str) -> None:
    """Checks a message that has no effect: its content, if there is any, must be a string or an array."""
    content = message.get("content")
    if not isinstance(content, str | list | None):
        raise InvalidInput(
            f"'{path}.content' must be a string or an array.", code="invalid_type", param=f"{path}.content"
        )


def _role(message: dict[str, Any], path: str, items: frozenset[str]) -> str:
    """The message's role, or the type of another item."""
    kind = message.get("type") or "message"
    if kind != "message":
        if not isinstance(kind, str) or kind not in items:
            _unsupported("The models read messages only.", path)
        return kind
    if message.get("role") is None:
        if items and message.keys() - {"type"} == {"id"}:
            return "item_reference"
        raise InvalidInput(f"'{path}.role' is required.", code="missing_required_parameter", param=f"{path}.role")
    role = message["role"]
    if not isinstance(role, str):
        raise InvalidInput(f"'{path}.role' must be a string.", code="invalid_type", param=f"{path}.role")
    if role not in ("user", *WITHOUT_EFFECT, *OTHERS_TURNS):
        raise InvalidInput(f"'{path}.role' is no role: '{role[:100]}'.", code="invalid_type", param=f"{path}.role")
    return role


def _check_keys(message: dict[str, Any], path: str, keys: frozenset[str]) -> None:
    for key in message.keys() - keys:
        if message[key] is not None:
            raise unknown_parameter(f"{path}.{key[:100]}")


def _unsupported(message: str, param: str) -> NoReturn:
    raise InvalidInput(message, code="unsupported_content", param=param)

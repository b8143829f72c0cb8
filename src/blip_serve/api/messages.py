"""The messages of a chat or a response: one of the user's with an image, and those that have no effect."""

from collections.abc import Sequence
from typing import Any, NoReturn

from blip_serve.api.body import unknown_parameter
from blip_serve.api.parts import read_content
from blip_serve.domain import Caption
from blip_serve.errors import InvalidInput
from blip_serve.images.reference import ImageSource

MAX_MESSAGES = 100
"""Messages a request may hold; only the user's one says anything."""
WITHOUT_EFFECT = ("system", "developer")
UNREADABLE = ("assistant", "tool", "function")


def read_messages(messages: Sequence[dict[str, Any]], param: str, keys: frozenset[str]) -> tuple[ImageSource, Caption]:
    """The image and the text (blank where there is none) of the one user message; `keys` are those a message may have.

    The models read one image and one text. Whatever else would change an answer's meaning is refused: earlier turns, a
    second image, an image the system shows. Raises `InvalidInput` naming the message, the part or the key at fault.
    """
    asked: list[tuple[str, dict[str, Any]]] = []
    for i, message in enumerate(messages):
        path = f"{param}[{i}]"
        role = _role(message, path)
        if role == "user":
            asked.append((path, message))
        elif role in WITHOUT_EFFECT:
            _check_text_only(message, path)
        elif role in UNREADABLE:
            _unsupported(f"The models read no messages of role '{role}', only the user's one.", path)
        else:
            raise InvalidInput(f"'{path}.role' is no role: '{role[:100]}'.", code="invalid_type", param=f"{path}.role")
        _check_keys(message, path, keys)
    if not asked:
        raise InvalidInput(
            f"'{param}' holds no user message with an image.", code="missing_required_parameter", param=param
        )
    if len(asked) > 1:
        _unsupported("The models read no conversation: send the last user message alone, with its image.", asked[0][0])
    (path, message), *_ = asked
    return _image_and_text(message, f"{path}.content")


def _image_and_text(message: dict[str, Any], path: str) -> tuple[ImageSource, Caption]:
    """Several texts are joined by a space."""
    parts = list(enumerate(read_content(message.get("content"), path)))
    images = [(i, part) for i, part in parts if not isinstance(part, Caption)]
    texts = [part for _, part in parts if isinstance(part, Caption)]
    if not images:
        raise InvalidInput("The user's message holds no image.", code="missing_required_parameter", param=path)
    if len(images) > 1:
        raise InvalidInput(
            f"{len(images)} images; the models read one.", code="too_many_images", param=f"{path}[{images[1][0]}]"
        )
    return images[0][1], texts[0] if len(texts) == 1 else Caption(_joined(texts), path)


def _joined(texts: Sequence[Caption]) -> str:
    return " ".join(text.text for text in texts if text.text.strip())


def _check_text_only(message: dict[str, Any], path: str) -> None:
    for i, part in enumerate(read_content(message.get("content"), f"{path}.content")):
        if not isinstance(part, Caption):
            _unsupported("Only the user's message may hold an image.", f"{path}.content[{i}]")


def _role(message: dict[str, Any], path: str) -> str:
    if message.get("type", "message") != "message":
        _unsupported("The models read messages only.", path)
    if "role" not in message:
        raise InvalidInput(f"'{path}.role' is required.", code="missing_required_parameter", param=f"{path}.role")
    role = message["role"]
    if not isinstance(role, str):
        raise InvalidInput(f"'{path}.role' must be a string.", code="invalid_type", param=f"{path}.role")
    return role


def _check_keys(message: dict[str, Any], path: str, keys: frozenset[str]) -> None:
    for key in message.keys() - keys:
        raise unknown_parameter(f"{path}.{key[:100]}")


def _unsupported(message: str, param: str) -> NoReturn:
    raise InvalidInput(message, code="unsupported_content", param=param)

"""A response as it is generated: the events of its stream."""

from collections.abc import Iterator

from pydantic_core import to_json

from blip_serve.api.errors import ErrorBody
from blip_serve.api.events import ServerSentEvent
from blip_serve.api.logprobs import logprobs
from blip_serve.api.response_object import OutputText, ResponseObject, ended, failed, new_message, said
from blip_serve.domain import Piece
from blip_serve.tasks.generate import Began, Event, GenerateResult


class ResponseWriter:
    """Shapes one stream: the response, its message and the message's text begin, grow, and end in turn."""

    def __init__(self, response: ResponseObject) -> None:
        self._response = response
        self._message = new_message()
        self._number = 0

    def write(self, event: Event) -> Iterator[ServerSentEvent]:
        """An event of the task as events of the interface."""
        match event:
            case Began(model, protocol, service_tier=tier):
                told = {"model": model, "protocol": protocol, "service_tier": tier}
                self._response = self._response.model_copy(update=told)
                yield self._event("response.created", response=self._response)
                yield self._event("response.output_item.added", output_index=0, item=self._message)
                yield self._of_text("response.content_part.added", part=OutputText())
            case Piece(text=text, logprobs=tokens):
                if text or tokens:
                    yield self._of_text("response.output_text.delta", delta=text, logprobs=logprobs(tokens or ()))
            case GenerateResult():
                yield from self._end(event)

    def fail(self, error: ErrorBody) -> Iterator[ServerSentEvent]:
        """The response with its error."""
        yield self._event("response.failed", response=failed(self._response, error))

    def _end(self, result: GenerateResult) -> Iterator[ServerSentEvent]:
        message = said(self._message, result.texts[0])
        response = ended(self._response, message, result)
        [part] = message.content
        yield self._of_text("response.output_text.done", text=part.text, logprobs=part.logprobs)
        yield self._of_text("response.content_part.done", part=part)
        yield self._event("response.output_item.done", output_index=0, item=message)
        yield self._event(f"response.{response.status}", response=response)

    def _of_text(self, kind: str, **fields: object) -> ServerSentEvent:
        return self._event(kind, item_id=self._message.id, output_index=0, content_index=0, **fields)

    def _event(self, kind: str, **fields: object) -> ServerSentEvent:
        data = to_json({"type": kind, "sequence_number": self._number} | fields, inf_nan_mode="null")
        self._number += 1
        return ServerSentEvent(data.decode(), kind)

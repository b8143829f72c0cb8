"""A request whose task is cancelled: by Serve's proxy, whose client left, or by a server at the end of its drain."""

import asyncio
import json
from functools import partial

from starlette.types import Message

from blip_serve.api.app import create_app
from blip_serve.models.fake import FakeModel
from blip_serve.tasks.service import open_service
from tests.support.server import always, fake_settings
from tests.support.waiting import wait_until

BODY = {"image": "aGVsbG8=", "caption": "a"}
SCOPE = {
    "type": "http",
    "asgi": {"version": "3.0"},
    "http_version": "1.1",
    "method": "POST",
    "scheme": "http",
    "path": "/v1/match",
    "raw_path": b"/v1/match",
    "root_path": "",
    "query_string": b"",
    "headers": [(b"content-type", b"application/json"), (b"host", b"localhost")],
    "client": ("127.0.0.1", 1),
    "server": ("127.0.0.1", 2),
}


def cancel_in_flight(draining: bool) -> tuple[list[Message], bool, bytes]:
    """What was sent to a request cancelled in the device's queue, whether it ended cancelled, and the metrics."""
    model = FakeModel()
    app = create_app(fake_settings(), partial(open_service, loader=always(model)))

    async def run() -> tuple[list[Message], bool, bytes]:
        async with app.router.lifespan_context(app):
            await asyncio.to_thread(wait_until, lambda: not app.state.tasks.not_ready())
            model.open.clear()
            sent: list[Message] = []
            coming = [{"type": "http.request", "body": json.dumps(BODY).encode()}]

            async def receive() -> Message:
                if coming:
                    return coming.pop()
                return await asyncio.Event().wait()  # type: ignore[return-value]  # the client says no more

            async def send(message: Message) -> None:
                sent.append(message)

            request = asyncio.create_task(app(SCOPE | {"state": {}}, receive, send))
            await asyncio.to_thread(wait_until, lambda: b"queue_requests 1.0" in app.state.telemetry.page())
            app.state.draining = draining
            request.cancel()
            await asyncio.wait({request})
            model.open.set()
            return sent, request.cancelled(), app.state.telemetry.page()

    return asyncio.run(run())


def test_a_request_cancelled_while_the_service_goes_on_counts_as_left_by_its_client() -> None:
    sent, cancelled, metrics = cancel_in_flight(draining=False)
    assert (sent, cancelled) == ([], True)
    assert b"cancelled_requests_total 1.0" in metrics
    assert b'status="499"' in metrics


def test_a_request_cancelled_at_the_end_of_the_drain_is_told_so() -> None:
    sent, cancelled, metrics = cancel_in_flight(draining=True)
    assert ([message.get("status") for message in sent], cancelled) == ([503, None], False)
    assert json.loads(sent[1]["body"])["error"]["code"] == "unavailable"
    assert b"cancelled_requests_total 0.0" in metrics
    assert b'status="503"' in metrics

"""When there are traces, and the spans of calls from Python and of bulk runs."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import typer

from blip_serve.cli.asking import AskOptions
from blip_serve.cli.bulk import embed
from blip_serve.cli.bulk_options import bulk_command
from blip_serve.cli.bulk_run import run_bulk
from blip_serve.domain import Caption
from blip_serve.errors import InvalidInput
from blip_serve.images.reference import BytesImage
from blip_serve.in_process import AsyncBlipServe
from blip_serve.jobs.manifest import Manifest
from blip_serve.jobs.operators.operator import Ask
from blip_serve.jobs.pictures import open_pictures
from blip_serve.jobs.pipeline import Pipeline
from blip_serve.jobs.plan import WHOLE
from blip_serve.jobs.rows import Dropped, Fields, Row
from blip_serve.jobs.run import Run
from blip_serve.models.fake import FakeModel
from blip_serve.remote.tasks import RemoteTasks
from blip_serve.settings import ImageSettings, Settings
from blip_serve.stages import MOST, Stages
from blip_serve.tasks.embed import EmbedRequest
from blip_serve.tasks.service import open_service
from blip_serve.telemetry import Telemetry, make_log, open_tracing
from tests.jobs.numbers import Double, Numbers, Place
from tests.support.collector import ERROR, Collector, collecting, sending_to
from tests.support.pictures import picture
from tests.support.server import QUIET, always, fake_settings, serving, settings

DEAD = "http://127.0.0.1:9"
ROWS, CUT = 25, 10
SECRET = "canary"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.mark.parametrize(
    "variables", [{"EXPORTER_OTLP_ENDPOINT": ""}, {"TRACES_EXPORTER": "none"}, {"SDK_DISABLED": "true"}]
)
def test_there_are_no_traces_unless_the_variables_ask(
    variables: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    with sending_to(DEAD, **variables):
        assert Telemetry(QUIET).tracing is None
    assert not capfd.readouterr().err


@pytest.mark.parametrize("protocol", ["grpc", "http/json"])
def test_a_protocol_that_is_not_there_is_warned_of(protocol: str, capfd: pytest.CaptureFixture[str]) -> None:
    with sending_to(DEAD, EXPORTER_OTLP_PROTOCOL=protocol):
        assert open_tracing(make_log(QUIET.model_copy(update={"level": "warning"}))) is None
    assert f"not by otlp with {protocol}" in capfd.readouterr().err


def test_without_the_extra_a_warning_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "blip_serve.tracing", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    with sending_to(DEAD):
        assert open_tracing(make_log(QUIET.model_copy(update={"level": "warning"}))) is None
    assert "pip install 'blip-serve[otel]'" in capfd.readouterr().err


def test_a_call_from_python_is_a_span_with_its_stages_below(collector: Collector) -> None:
    async def use() -> None:
        async with AsyncBlipServe(settings()) as blip:
            await blip.match(picture(1), [SECRET])
            with pytest.raises(InvalidInput):
                await blip.match(picture(1), ["x" * 10_000 + SECRET])

    with sending_to(collector.url):
        asyncio.run(use())
    good, bad = collector.spans("match")  # closing has sent them
    assert {span.name for span in collector.below(good)} >= {"fetch", "decode", "prepare", "queue", "device"}
    assert (bad.status, bad.attributes["error.type"]) == (ERROR, "input_too_long")
    assert good.attributes["gen_ai.request.model"] == "blip-serve/demo-retrieval"
    assert SECRET.encode() not in b"".join(collector.received)


@dataclass(frozen=True, slots=True)
class Asks(Double):
    """Also asks for a vector of each row."""

    async def apply(self, row: Row, picture: BytesImage | None, ask: Ask) -> Fields | Dropped:
        """The double."""
        await ask(EmbedRequest((Caption(f"{SECRET} {row.number}", "text"),)))
        return await super(Asks, self).apply(row, picture, ask)


def run(place: Place, ask: Ask, traced: Telemetry) -> None:
    async def process(todo: Run) -> None:
        async with open_pictures(ImageSettings()) as pictures:
            await todo.process(Pipeline(job, ask, pictures, None, traced.tracing).segments)

    job = place.job(Numbers(ROWS, CUT), Asks())
    with Manifest(place.folder / "state") as manifest:
        asyncio.run(process(Run(job, manifest, WHOLE)))


def test_a_run_on_a_server_hands_on_its_trace(collector: Collector, tmp_path: Path) -> None:
    async def ask(request: EmbedRequest) -> object:
        async with RemoteTasks(service.url) as remote:
            return await remote.run(request)

    with sending_to(collector.url), serving(fake_settings(), always(FakeModel())) as service:
        telemetry = Telemetry(QUIET)
        run(Place(tmp_path), ask, telemetry)  # type: ignore[arg-type]
        telemetry.close()
    segments = collector.wait_for("segment", 3)
    requests = collector.wait_for("POST /v1/embeddings", ROWS)
    assert [len([r for r in requests if r.parent == s.id]) for s in segments] == [CUT, CUT, ROWS - 2 * CUT]
    assert all(request.trace == above.trace for above in segments for request in collector.below(above))
    assert [segment.attributes["blip_serve.rows"] for segment in segments] == [CUT, CUT, ROWS - 2 * CUT]
    assert SECRET.encode() not in b"".join(collector.received)


@asynccontextmanager
async def asking(options: AskOptions, settings: Settings) -> AsyncIterator[Ask]:
    """Asks a fake model."""
    async with open_service(fake_settings(), Telemetry(QUIET), always(FakeModel())) as tasks:
        yield tasks.run


def test_a_command_is_one_trace(collector: Collector, tmp_path: Path) -> None:
    rows = tmp_path / f"{SECRET}.jsonl"
    picture(1).save(tmp_path / f"{SECRET}.png")
    rows.write_text(f'{{"image": "{SECRET}.png"}}\n' * 3)
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(bulk_command(embed, partial(run_bulk, asking=asking)))
    before = signal.getsignal(signal.SIGTERM)
    try:
        with sending_to(collector.url), pytest.raises(SystemExit) as ended:
            app([str(rows), "--to", str(tmp_path / "out.jsonl")])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ended.value.code == 0
    [whole], [segment] = collector.spans("bulk"), collector.spans("segment")
    assert (whole.parent, segment.parent, segment.trace) == ("", whole.id, whole.trace)
    assert segment.attributes["blip_serve.rows"] == 3
    assert {span.name for span in collector.below(segment)} >= {"fetch", "queue", "device"}
    assert SECRET.encode() not in b"".join(collector.received)


def test_stages_are_bounded_and_lose_no_time() -> None:
    stages = Stages()
    for i in range(MOST + 3):
        stages.ran("fetch", i, i + 0.5)
        stages.stepped("decode", i, i + 0.25)
    kept = [interval for _, interval in stages.stages()]
    assert (len(kept), kept[-1].start, kept[-1].end, kept[-1].count) == (MOST, MOST - 1, MOST + 2.5, 4)
    assert sum(interval.busy_s for interval in kept) == 0.5 * (MOST + 3)
    [(phase, steps)] = stages.phases()
    assert (phase, steps.start, steps.end, steps.count) == ("decode", 0, MOST + 2.25, MOST + 3)

"""Runs an evaluation from its data to its report: with models here, or on a server."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from blip_serve.cli.asking import OpenAsking, answering, asking
from blip_serve.cli.bulk_report import Progress, say
from blip_serve.cli.charts import drawing
from blip_serve.cli.evaluate_options import EvaluateOptions
from blip_serve.cli.evaluate_report import print_report, write_json
from blip_serve.cli.long_run import long_run
from blip_serve.findings import Findings, machine
from blip_serve.in_process import local_settings
from blip_serve.jobs.evaluation.answering import Answering, Count
from blip_serve.jobs.evaluation.answers import Answers
from blip_serve.jobs.evaluation.evaluation import Evaluation, Measured
from blip_serve.jobs.evaluation.report import Report, Subject
from blip_serve.jobs.operators.serving import Serving
from blip_serve.jobs.pictures import open_pictures
from blip_serve.settings import Settings
from blip_serve.tasks.checkpoints import identity_of
from blip_serve.telemetry import printable

CHART = "blip_serve.cli.evaluate_chart"


def run_evaluation(name: str, options: EvaluateOptions, evaluation: Evaluation, asking: OpenAsking = asking) -> None:
    """Runs a command. `asking`: opens what runs requests. An error ends the process, as `long_run` says.

    Raises `ConfigurationError` for options that do not fit each other, the data, or an earlier run in `--out`.
    """
    with long_run(options.out or options.data):
        draw = drawing(CHART, options.chart).draw if options.chart else None
        report = _evaluate(options, evaluation, asking)
        print_report(report)
        if options.report:
            write_json(report, options.report)
        if draw:
            draw(report, options.chart)
        if finding := report.finding():
            Findings(local_settings(options.config).data).keep(finding)


def _evaluate(options: EvaluateOptions, evaluation: Evaluation, asking: OpenAsking) -> Report:
    settings = local_settings(options.config)
    wanted = Serving(options.model, options.protocol or evaluation.protocol)
    [serving] = answering([(evaluation.needs, wanted)], options, settings)
    subject = _subject(serving, options, settings)
    agreed = {
        "evaluation": evaluation.name,
        "model": subject.model,
        "url": options.url,
        "protocol": subject.protocol,
        "digest": subject.digest,
        "dtype": subject.dtype,
        **evaluation.described,
    }
    folder = options.out or _folder(settings, agreed)
    say(f"{evaluation.name} by {subject.model}; what is answered is kept in {folder}")
    with Answers(folder) as answers:
        answers.agree(agreed)
        measured = asyncio.run(_measured(evaluation, options, settings, serving, answers, asking))
    notes = evaluation.notes(serving.protocol or evaluation.protocol)
    data = printable(evaluation.data)  # perhaps a file's name that is no UTF-8: neither a chart nor a finding takes it
    return Report(evaluation.name, data, subject, measured, evaluation.published, notes)


def _subject(serving: Serving, options: EvaluateOptions, settings: Settings) -> Subject:
    """Which model it is. Reads the files of one that is here."""
    model = str(serving.model)
    if options.url:
        return Subject(model, serving.protocol)
    identity = identity_of(model, settings, say)
    return Subject(model, serving.protocol, identity.digest, identity.dtype, machine())


def _folder(settings: Settings, agreed: dict[str, Any]) -> Path:
    """A folder for the answers of this very evaluation."""
    digest = sha256(json.dumps(agreed, sort_keys=True).encode()).hexdigest()
    return settings.data / "evaluations" / digest[:16]


async def _measured(
    evaluation: Evaluation,
    options: EvaluateOptions,
    settings: Settings,
    serving: Serving,
    answers: Answers,
    asking: OpenAsking,
) -> Measured:
    async with asking(options, settings) as ask, open_pictures(settings.images) as pictures:
        return await evaluation.measure(Answering(ask, pictures, serving, answers, _shown, options.at_once))


@contextmanager
def _shown(counted: str, total: int) -> Iterator[Count]:
    with closing(Progress(total, counted)) as progress:
        yield progress.rows

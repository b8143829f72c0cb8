"""The architectures that are served: the one table that says what each is for and which class runs it.

A new BLIP variant is a row here and a file in `models/`. Imports no torch.
"""

from dataclasses import dataclass

from blip_serve.domain import Task


@dataclass(frozen=True, slots=True)
class Architecture:
    """A class name in the hub's configurations, what it is for, and the `module:class` of ours that runs it.

    Our class is imported when the first checkpoint of the architecture is loaded, and torch with it.
    """

    name: str
    tasks: tuple[Task, ...]
    model: str


RETRIEVAL = Architecture(
    "BlipForImageTextRetrieval", ("match", "embed", "explain"), "blip_serve.models.matcher:Matcher"
)
CAPTIONING = Architecture(
    "BlipForConditionalGeneration", ("caption", "explain"), "blip_serve.models.captioner:Captioner"
)
ANSWERING = Architecture("BlipForQuestionAnswering", ("answer", "explain"), "blip_serve.models.answerer:Answerer")

ARCHITECTURES = {row.name: row for row in (RETRIEVAL, CAPTIONING, ANSWERING)}
"""The rows by the name that a checkpoint's `config.json` gives in `architectures`."""

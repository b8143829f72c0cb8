"""`Answerer`: the `Model` of a question-answering checkpoint.

Phases: `encode` (skipped if the image is known), `read` (the question together with the image), then `prefill` and
`decode`, a step a token, or `rank` for given answers. `explain` reads the question anew.
"""

from pathlib import Path
from typing import Self

from blip_serve.architectures import ANSWERING
from blip_serve.catalogue import ModelCard
from blip_serve.domain import (
    Caption,
    ExplainItem,
    GenerateItem,
    GenerationOptions,
    Prepared,
    Progress,
    RankItem,
    caption_cost,
)
from blip_serve.errors import CheckpointError, InvalidInput
from blip_serve.images.decode import Decoder
from blip_serve.models.checkpoint import Checkpoint, open_checkpoint
from blip_serve.models.explain_works import EXPLAIN
from blip_serve.models.explanations import Explanations
from blip_serve.models.generation import AnsweringNetwork
from blip_serve.models.image_cache import TOKENS, ImageState
from blip_serve.models.image_encoder import ENCODE
from blip_serve.models.phases import AnyPhase, Phases
from blip_serve.models.question_reader import READ, QuestionReader, QuestionState
from blip_serve.models.readers import AnswerReader
from blip_serve.models.warm_up import grey_picture
from blip_serve.models.writer import Subject, Writer
from blip_serve.settings import Settings
from blip_serve.telemetry import Telemetry

AnsweringItem = GenerateItem | RankItem | ExplainItem


class Answerer:
    """A question-answering checkpoint on a device."""

    tasks = frozenset(ANSWERING.tasks)
    network_class, reader_class = AnsweringNetwork, AnswerReader

    def __init__(self, checkpoint: Checkpoint[AnsweringNetwork], max_sequences: int) -> None:
        self.network = checkpoint.network
        self.card = checkpoint.card
        self.depth = checkpoint.device.depth
        self._projection = checkpoint.costs.projection
        self._tokenizer = checkpoint.tokenizer
        self._images = checkpoint.image_encoder(self.network.vision_model)
        self._reader = QuestionReader(self.network.text_encoder, checkpoint.device)
        self._writer = Writer(checkpoint, self.network.text_decoder, max_sequences)
        self._explanations = Explanations(checkpoint, self._images, AnswerReader, ("attention",))
        self._begin = checkpoint.config.text.bos_token_id
        before: dict[str, AnyPhase] = {ENCODE: self._images, READ: self._reader, EXPLAIN: self._explanations.phase}
        phases = Phases(checkpoint.device, {**before, **self._writer.phases})
        self.launch, self.collect = phases.launch, phases.collect
        self.admit, self.release = self._writer.admit, self._writer.release
        self.missing = self._explanations.missing

    @classmethod
    def load(cls, folder: Path, card: ModelCard, settings: Settings, decoder: Decoder, telemetry: Telemetry) -> Self:
        """See `open_checkpoint`. The decoder must be as wide as the question's tokens, which it attends to."""
        checkpoint = open_checkpoint(cls.network_class, ANSWERING, folder, card, settings, decoder, telemetry)
        text = checkpoint.config.text
        if text.encoder_hidden_size != text.hidden_size:
            reason = "text_config.encoder_hidden_size: must be hidden_size, since the decoder attends to the question"
            raise CheckpointError(folder / "config.json", reason)
        return cls(checkpoint, settings.engine.max_sequences)

    def known(self, item: AnsweringItem) -> ImageState | None:
        """See `ImageEncoder.known`."""
        return self._images.known(item.image, TOKENS)

    def prepare(self, item: AnsweringItem) -> Prepared:
        """Finds or decodes the image, and tokenizes the question, and the answers if they are given.

        Raises `InvalidInput` naming the field of the image, the question, an answer, or the number of tokens.
        """
        if isinstance(item, ExplainItem):
            asked = item.question or Caption("", "question")
        else:
            asked = item.text if isinstance(item, GenerateItem) else item.question
        if not asked.text.strip():
            raise InvalidInput(
                "This model answers questions: ask one beside the image.", code="empty_input", param=asked.param
            )
        ids = self._tokenizer.question(asked, item.protocol)
        if isinstance(item, ExplainItem):
            read = [self._tokenizer.spelled(answer, "hf").foretold(self._begin) for answer in item.captions]
            return self._explanations.prepare(item, read, ids)
        question = QuestionState(ids)
        texts = self._writer.texts(item, prompt=())
        image = self._images.find(item.image, TOKENS)
        cost = caption_cost(len(question.ids))  # of passing a text tower; projecting what it made costs no more
        reading = Progress(READ, self._projection + cost)
        works = texts.works(Subject(image.state, question, cost, reading, len(question.ids)))
        return image.prepared(works, [question.ids, *texts.ids])

    def warm_up(self) -> GenerateItem:
        """A short answer about a grey picture."""
        return GenerateItem(grey_picture(), Caption("what is it?", "warm-up"), options=GenerationOptions(max_tokens=2))

"""`Answerer`: the `Model` of a question-answering checkpoint. Prepares items on worker threads, answers on the device.

Phases: `encode` (skipped where the image's state is known), `read` (the question, in view of the image), then either
`prefill` and `decode`, once a token, or `rank` for given answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch

from blip_serve.catalogue import ModelCard
from blip_serve.domain import (
    Caption,
    GenerateItem,
    GenerationOptions,
    ImageBytes,
    Outcome,
    Prepared,
    Progress,
    RankItem,
    Task,
)
from blip_serve.errors import CheckpointError, InvalidInput
from blip_serve.images.decode import Decoder
from blip_serve.models.checkpoint import Checkpoint, open_checkpoint
from blip_serve.models.generation import AnsweringNetwork
from blip_serve.models.generator import GenerateWork, Generating, Generator, prefill
from blip_serve.models.image_cache import TOKENS, ImageState
from blip_serve.models.image_encoder import ENCODE, Encoding, FoundImage
from blip_serve.models.questions import READ, Question, QuestionReader, Reading
from blip_serve.models.ranker import RANK, Ranker, Ranking, RankWork
from blip_serve.models.sequences import Vocabulary, sequences
from blip_serve.models.text_batches import cut
from blip_serve.models.warm_up import grey_picture
from blip_serve.settings import EngineSettings, Settings, caption_cost
from blip_serve.telemetry import Telemetry

ARCHITECTURE = "BlipForQuestionAnswering"


@dataclass(eq=False, slots=True, kw_only=True)
class AnswerWork(GenerateWork):
    """An answer to be generated once its question was read."""

    question: Question
    then: Progress


AnyWork = AnswerWork | RankWork
Launched = Encoding | Reading | Generating | Ranking


class Answerer:
    """A question-answering checkpoint on a device."""

    tasks: frozenset[Task] = frozenset({"answer"})

    def __init__(self, checkpoint: Checkpoint[AnsweringNetwork], settings: EngineSettings) -> None:
        text = checkpoint.config.text
        self.network = checkpoint.network
        self.card = checkpoint.card
        self.depth = checkpoint.device.depth
        self._device = checkpoint.device
        self._costs = checkpoint.costs
        self._limit = settings.max_step_cost // 4  # several requests share a step
        self._tokenizer = checkpoint.tokenizer
        self._vocabulary = Vocabulary(text.bos_token_id, text.sep_token_id, checkpoint.tokenizer.detokenizer)
        self._images = checkpoint.image_encoder(self.network.vision_model)
        self._reader = QuestionReader(self.network.text_encoder, checkpoint.device)
        self._generator = Generator(self.network.text_decoder, text, checkpoint.device, settings.max_sequences)
        self._ranker = Ranker(self.network.text_decoder, self._vocabulary, checkpoint.device)

    @classmethod
    def load(cls, folder: Path, card: ModelCard, settings: Settings, decoder: Decoder, telemetry: Telemetry) -> Self:
        """See `open_checkpoint`; the decoder must be as wide as what it attends to."""
        checkpoint = open_checkpoint(AnsweringNetwork, ARCHITECTURE, folder, card, settings, decoder, telemetry)
        text = checkpoint.config.text
        if text.encoder_hidden_size != text.hidden_size:
            reason = "text_config.encoder_hidden_size: must be hidden_size, since the decoder attends to the question"
            raise CheckpointError(folder / "config.json", reason)
        return cls(checkpoint, settings.engine)

    def known(self, item: GenerateItem | RankItem) -> ImageState | None:
        """See `ImageEncoder.known`."""
        return self._images.known(item.image, TOKENS)

    # Worker threads

    def prepare(self, item: GenerateItem | RankItem) -> Prepared:
        """Finds or decodes the image, and tokenizes the question, and the answers if they are given.

        Raises `InvalidInput` naming the field of the image, the question, an answer, or the number of tokens.
        """
        asked = item.text if isinstance(item, GenerateItem) else item.question
        if not asked.text.strip():
            raise InvalidInput(
                "This model answers questions: ask one beside the image.", code="empty_input", param=asked.param
            )
        question = Question(self._tokenizer.question(asked, item.protocol))
        return self._generate(item, question) if isinstance(item, GenerateItem) else self._rank(item, question)

    def _generate(self, item: GenerateItem, question: Question) -> Prepared:
        begun = sequences(item, (), self._vocabulary, self._tokenizer.positions)
        image = self._find(item.image)
        read, projection = self._read(question), caption_cost(len(question.ids))
        works = []
        for i, sequence in enumerate(begun):
            first = image.begin(read, i)
            work = AnswerWork(
                phase=first.phase,
                cost=first.cost,
                length=len(question.ids),
                image=image.state,
                needs=TOKENS,
                after=read,
                question=question,
                then=prefill(sequence, projection),
                source=question,
                sequence=sequence,
            )
            works.append(work)
        return image.prepared(works, [len(question.ids)])

    def _rank(self, item: RankItem, question: Question) -> Prepared:
        answers = self._tokenizer.words(item.answers)
        image = self._find(item.image)
        read = self._read(question)
        works = []
        costs = [caption_cost(len(words) + 1) for words in answers]
        for i, piece in enumerate(cut(list(map(len, answers)), costs, self._limit)):
            first = image.begin(read, i)
            work = RankWork(
                phase=first.phase,
                cost=first.cost,
                length=len(question.ids),
                image=image.state,
                needs=TOKENS,
                after=read,
                question=question,
                then=Progress(RANK, sum(costs[place] for place in piece) + caption_cost(len(question.ids))),
                answers=tuple((place, answers[place]) for place in piece),
            )
            works.append(work)
        return image.prepared(works, [len(question.ids), *map(len, answers)])

    def _find(self, image: ImageBytes) -> FoundImage:
        return self._images.find(image, TOKENS)

    def _read(self, question: Question) -> Progress:
        """The step that reads a question, in view of its image."""
        return Progress(READ, self._costs.projection + caption_cost(len(question.ids)))

    def warm_up(self) -> GenerateItem:
        """A short answer about a grey picture."""
        return GenerateItem(grey_picture(), Caption("what is it?", "warm-up"), options=GenerationOptions(max_tokens=2))

    # The device thread

    def admit(self, work: AnyWork) -> bool:
        """Takes the places in the word cache that a work holds between its steps; those that rank hold none."""
        return not isinstance(work, AnswerWork) or self._generator.admit(work)

    def release(self, work: AnyWork) -> None:
        """See `admit`."""
        if isinstance(work, AnswerWork):
            self._generator.release(work)

    @torch.inference_mode()
    def launch(self, works: Sequence[AnyWork]) -> Launched:
        """Starts the next step of the works' phase."""
        with self._device.computing():
            phase = works[0].phase
            if phase == ENCODE:
                return self._images.launch(works)
            if phase == READ:
                return self._reader.launch(works)
            if phase == RANK:
                return self._ranker.launch([work for work in works if isinstance(work, RankWork)])
            return self._generator.launch([work for work in works if isinstance(work, AnswerWork)])

    @torch.inference_mode()
    def collect(self, launched: Launched) -> list[Outcome]:
        """Waits for the step, keeps what it made, and gives each work its next phase or its result."""
        with self._device.computing():
            match launched:
                case Encoding():
                    return self._images.collect(launched)
                case Reading():
                    return self._reader.collect(launched)
                case Ranking():
                    return self._ranker.collect(launched)
                case Generating():
                    return self._generator.collect(launched)

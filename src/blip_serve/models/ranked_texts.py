"""Given texts as a decoder scores them: answers to a question, or captions of an image.

The decoder reads `[DEC] a1 ... an` and is asked for `a1 ... an [SEP]`. A caption's beginning comes right after `[DEC]`
and is read but not asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from blip_serve.domain import RankItem, caption_cost
from blip_serve.errors import InvalidInput
from blip_serve.models.sequences import Vocabulary
from blip_serve.models.text_batches import cut
from blip_serve.models.tokenizing import CaptionTokenizer


@dataclass(frozen=True, slots=True)
class RankedText:
    """One text to be scored: the ids that the decoder `reads`, and those `asked` for at its last positions."""

    reads: tuple[int, ...]
    asked: tuple[int, ...]

    @property
    def targets(self) -> tuple[int, ...]:
        """The id that is asked for at each position; 0 where none is."""
        return (*self._unasked, *self.asked)

    @property
    def wanted(self) -> tuple[int, ...]:
        """1 at the positions where an id is asked for, 0 at those before them."""
        return (*self._unasked, *(1 for _ in self.asked))

    @property
    def _unasked(self) -> tuple[int, ...]:
        return (0,) * (len(self.reads) - len(self.asked))

    @property
    def cost(self) -> int:
        """Of scoring it."""
        return caption_cost(len(self.reads))


NumberedTexts = tuple[tuple[int, RankedText], ...]
"""Some of an item's texts, each with its index in the item."""


def ranked_texts(
    item: RankItem,
    beginning: tuple[int, ...],
    ids: Sequence[tuple[int, ...]],
    vocabulary: Vocabulary,
    tokenizer: CaptionTokenizer,
) -> list[RankedText]:
    """An item's texts as they are scored after `beginning`; `ids`: of the texts.

    Raises `InvalidInput` naming the text: `input_too_long` if it does not fit the decoder's positions;
    `task_not_supported` if the item asks for beginnings and the text is not a single token of the vocabulary.
    """
    begun = (vocabulary.begin, *beginning)
    for answer, own in zip(item.answers, ids, strict=True):
        if item.beginnings and (len(own) != 1 or own[0] == tokenizer.unknown_id):
            raise InvalidInput(
                f"The model does not know the word '{answer.text}'.", code="task_not_supported", param=answer.param
            )
        if len(begun) + len(own) > tokenizer.positions:
            raise InvalidInput(
                f"The text has {len(own)} tokens; the model holds {tokenizer.positions - len(begun)} here.",
                code="input_too_long",
                param=answer.param,
            )
    if item.beginnings:
        return [RankedText(begun, own) for own in ids]
    return [RankedText((*begun, *own), (*own, vocabulary.end)) for own in ids]


def cut_texts(texts: Sequence[RankedText], limit: int) -> list[tuple[NumberedTexts, int]]:
    """All of `texts` in pieces of like length, and the cost of each: at most `limit`, unless it is a single text."""
    costs = [text.cost for text in texts]
    pieces = cut([len(text.reads) for text in texts], costs, limit)
    return [(tuple((i, texts[i]) for i in piece), sum(costs[i] for i in piece)) for piece in pieces]

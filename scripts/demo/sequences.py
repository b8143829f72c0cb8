"""What a decoder reads and learns, and its loss."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from demo.padding import NO_LABEL, padded
from demo.vocabulary import Vocabulary


@dataclass(frozen=True)
class Text:
    """Words of which the first few are given and the rest is to be said."""

    words: tuple[str, ...]
    given: int = 0


@dataclass(frozen=True)
class Sequences:
    """Texts as a decoder reads and learns them, both (N, T): [DEC] w1 ... wn and w1 ... wn [SEP]."""

    ids: Tensor
    labels: Tensor  # NO_LABEL where the word is given

    @staticmethod
    def of(texts: list[Text], vocabulary: Vocabulary) -> Sequences:
        ids = vocabulary.ids
        read = [[ids["[DEC]"], *(ids[word] for word in text.words)] for text in texts]
        learnt = [
            [NO_LABEL] * text.given + [ids[word] for word in (*text.words[text.given :], "[SEP]")] for text in texts
        ]
        return Sequences(padded(read), padded(learnt, filler=NO_LABEL))

    def losses(self, logits: Tensor) -> dict[str, Tensor]:
        """The mean loss of (N, T, V) logits over the words to be said, and the share of these that come first."""
        said = self.labels != NO_LABEL
        right = logits.argmax(dim=-1)[said] == self.labels[said]
        return {
            "word": F.cross_entropy(logits.flatten(0, 1), self.labels.flatten()),
            "word_accuracy": right.float().mean(),
        }

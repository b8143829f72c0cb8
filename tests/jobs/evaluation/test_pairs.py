"""Pairs: what both directions need of a picture and a text is scored once."""

from random import Random

import numpy as np

from blip_serve.jobs.evaluation.pairs import Pairs

PICTURES, TEXTS, DISTINCT, K = 20, 50, 30, 5


def drawn() -> tuple[Pairs, list[list[int]], list[list[int]], list[int]]:
    random = Random(0)
    of_pictures = [random.sample(range(TEXTS), K) for _ in range(PICTURES)]
    of_texts = [random.sample(range(PICTURES), K) for _ in range(TEXTS)]
    distinct = [*range(DISTINCT), *(random.randrange(DISTINCT) for _ in range(TEXTS - DISTINCT))]
    pairs = Pairs.of(np.array(of_pictures), np.array(of_texts), np.array(distinct))
    return pairs, of_pictures, of_texts, distinct


def test_a_picture_is_asked_about_each_distinct_text_of_both_directions_once() -> None:
    pairs, of_pictures, of_texts, distinct = drawn()
    for picture in range(PICTURES):
        wanted = {distinct[text] for text in of_pictures[picture]}
        wanted |= {distinct[text] for text in range(TEXTS) if picture in of_texts[text]}
        assert pairs.texts_of(picture).tolist() == sorted(wanted)


def test_each_candidate_finds_the_score_of_its_pair() -> None:
    pairs, of_pictures, of_texts, distinct = drawn()
    by_picture, by_text = pairs.scores(pairs.keys.astype(np.float32))
    for picture, texts in enumerate(of_pictures):
        assert by_picture[picture].tolist() == [picture * pairs.texts + distinct[text] for text in texts]
    for text, pictures in enumerate(of_texts):
        assert by_text[text].tolist() == [picture * pairs.texts + distinct[text] for picture in pictures]

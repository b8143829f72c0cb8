"""Ranking: candidates by cosine, ranks by score, and of equal ones the lower index first."""

import numpy as np
import pytest

from blip_serve.jobs.evaluation import ranking
from blip_serve.jobs.evaluation.ranking import UNSCORED, candidates, ranks, recall


def unit(rows: int, seed: int, width: int = 8) -> ranking.Vectors:
    drawn = np.random.default_rng(seed).standard_normal((rows, width))
    vectors: ranking.Vectors = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
    return vectors


def test_candidates_are_the_nearest_in_order() -> None:
    queries, documents = unit(30, 1), unit(50, 2)
    found, cosines = candidates(queries, documents, 7)
    whole = queries.astype(np.float64) @ documents.T
    assert (found == np.argsort(-whole, axis=1)[:, :7]).all()
    assert np.allclose(cosines, np.take_along_axis(whole, found, axis=1), atol=1e-6)


@pytest.mark.parametrize("block", [1, 100, 10_000])
def test_blocks_of_any_size_find_the_same(block: int) -> None:
    queries, documents = unit(30, 1), unit(50, 2)
    found, cosines = candidates(queries, documents, 7, block)
    whole = candidates(queries, documents, 7)
    assert (found == whole[0]).all()
    assert np.allclose(cosines, whole[1], atol=1e-6)


def test_of_fewer_documents_than_candidates_all_are_found() -> None:
    found, cosines = candidates(unit(3, 1), unit(5, 2), 16)
    assert found.shape == cosines.shape == (3, 5)


def test_equal_cosines_are_in_the_order_of_their_indices() -> None:
    same = np.repeat(unit(1, 1), 6, axis=0)
    found, _ = candidates(same[:1], same, 4)
    assert found.tolist() == [[0, 1, 2, 3]]


def test_a_rank_counts_higher_scores_and_equal_ones_of_lower_index() -> None:
    found, scores = np.array([[4, 1, 2]]), np.array([[0.5, 0.9, 0.5]], np.float32)
    assert [ranks(found, scores, [[true]], 6) for true in (1, 2, 4)] == [[0], [1], [2]]


def test_one_that_is_no_candidate_comes_after_all_that_are_in_the_order_of_its_index() -> None:
    found, scores = np.array([[4, 1, 2]]), np.array([[0.5, -50.0, 0.5]], np.float32)
    assert [ranks(found, scores, [[true]], 6) for true in (0, 3, 5)] == [[3], [4], [5]]
    below = np.array([[0.5, UNSCORED - 1, 0.5]], np.float32)  # as train_retrieval.py has it, though no model gives that
    assert ranks(found, below, [[1]], 6) == [5]


def test_the_best_of_several_true_documents_counts() -> None:
    found, scores = np.array([[4, 1, 2], [0, 1, 2]]), np.array([[0.5, 0.9, 0.1], [0.3, 0.2, 0.1]], np.float32)
    assert ranks(found, scores, [[2, 4], range(1, 3)], 6) == [1, 1]


def test_recall_is_a_share_in_per_cent() -> None:
    assert [recall([0, 4, 5, 99], at) for at in (1, 5, 10)] == [25.0, 50.0, 75.0]

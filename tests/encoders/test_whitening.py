from __future__ import annotations

import numpy as np
import pytest
import torch

from bertrec.core.errors import ConfigError, DataError
from bertrec.encoders.whitening import Whitening


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    random = np.random.default_rng(0)
    return (random.normal(size=(400, 5)) @ random.normal(size=(5, 5)) + 3).astype(np.float32)


@pytest.mark.parametrize("method", ["pca", "zca"])
def test_whitened_vectors_have_mean_zero_and_unit_covariance(vectors, method):
    white = Whitening.fit(vectors, method=method).transform(vectors)
    np.testing.assert_allclose(white.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(np.cov(white.T), np.eye(5), atol=1e-4)


def test_pca_equals_scikit_learn_up_to_signs(vectors):
    decomposition = pytest.importorskip("sklearn.decomposition")
    theirs = decomposition.PCA(3, whiten=True).fit_transform(vectors.astype(np.float64))
    ours = Whitening.fit(vectors, dim=3).transform(vectors)
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs), atol=1e-3)


def test_two_independent_directions_by_hand():
    # Each point twice: variances 8 / 7 * 4 and 8 / 7 * 1 along the axes.
    points = np.array([[7.0, 8.0], [7.0, 6.0], [3.0, 8.0], [3.0, 6.0]] * 2)
    expected = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]] * 2) * np.sqrt(7 / 8)
    np.testing.assert_allclose(Whitening.fit(points, method="zca").transform(points), expected, atol=1e-6)
    np.testing.assert_allclose(Whitening.fit(points, method="pca", dim=1).transform(points), expected[:, :1], atol=1e-6)


def test_only_the_given_rows_count(vectors):
    spoiled = np.concatenate([np.full((1, 5), 1e6, np.float32), vectors])
    for rows in (np.arange(1, 401), np.arange(401) > 0):
        torch.testing.assert_close(Whitening.fit(spoiled, rows).matrix, Whitening.fit(vectors).matrix)


def test_a_direction_without_variance_gives_zeros_and_no_huge_values(vectors):
    flat = np.concatenate([vectors, vectors[:, :1]], axis=1)
    white = Whitening.fit(flat).transform(flat)
    np.testing.assert_allclose(np.cov(white.T), np.diag([1, 1, 1, 1, 1, 0]), atol=1e-3)


@pytest.mark.parametrize(("rows", "part"), [(40, 0.0), (25, 0.5), (10, 1.0), (6, 1.0)])
def test_with_few_rows_variances_are_drawn_to_their_mean(rows, part):
    """From four rows a dimension on not at all, up to one in full, by scikit-learn's Ledoit-Wolf: zca takes the root of its inverse."""
    covariance = pytest.importorskip("sklearn.covariance")
    random = np.random.default_rng(rows)
    given = random.normal(size=(rows, 10)) * np.linspace(1, 3, 10)
    centred = given - given.mean(axis=0)
    share, plain = part * covariance.ledoit_wolf(centred, assume_centered=True)[1], np.cov(given.T)
    drawn = (1 - share) * plain + share * np.trace(plain) / 10 * np.eye(10)
    spanned = np.linalg.pinv(plain, rcond=1e-9) @ plain  # directions without variance are left out
    matrix = Whitening.fit(given, method="zca").matrix.numpy()
    np.testing.assert_allclose(matrix @ drawn @ matrix, spanned, atol=1e-4)


def test_with_fewer_rows_than_dimensions_alike_stays_alike():
    """At variance one in each direction that they span, any rows are equally far apart."""
    random = np.random.default_rng(0)
    texts = np.repeat(random.normal(size=(10, 50)), 2, axis=0) + 0.3 * random.normal(size=(20, 50))
    white = Whitening.fit(texts).transform(texts)
    white /= np.linalg.norm(white, axis=1, keepdims=True)
    pairs = np.triu_indices(20, 1)
    cosines, alike = (white @ white.T)[pairs], np.kron(np.eye(10), np.ones((2, 2)))[pairs] > 0
    assert cosines[alike].min() > cosines[~alike].max() + 0.1  # else they are -1 / 19 all


def test_module_and_array_form_agree_and_travel_in_a_state_dict(vectors):
    fitted = Whitening.fit(vectors, dim=2)
    loaded = Whitening(5, 2)
    loaded.load_state_dict(fitted.state_dict())
    assert not list(fitted.parameters())
    np.testing.assert_allclose(loaded(torch.from_numpy(vectors)).numpy(), fitted.transform(vectors), atol=1e-5)


@pytest.mark.parametrize("options", [{"dim": 0}, {"dim": 6}, {"dim": 2, "method": "zca"}, {"method": "cca"}])
def test_settings_out_of_range(vectors, options):
    with pytest.raises(ConfigError):
        Whitening.fit(vectors, **options)


@pytest.mark.parametrize("bad", [np.zeros((1, 3)), np.zeros(3), np.array([[0.0, np.nan], [1.0, 2.0]])])
def test_vectors_that_cannot_be_whitened(bad):
    with pytest.raises(DataError, match="whitening needs"):
        Whitening.fit(bad)


@pytest.mark.parametrize("method", ["pca", "zca"])
def test_in_groups_each_group_is_white_and_what_they_share_stays(vectors, method):
    """Five dimensions in two groups: three and two."""
    fitted = Whitening.fit(vectors, method=method, groups=2)
    white = fitted.transform(vectors)
    found = np.cov(white.T)
    np.testing.assert_allclose(found[:3, :3], np.eye(3), atol=1e-4)
    np.testing.assert_allclose(found[3:, 3:], np.eye(2), atol=1e-4)
    assert np.abs(found[:3, 3:]).max() > 0.1
    for part in (slice(0, 3), slice(3, 5)):
        np.testing.assert_allclose(white[:, part], Whitening.fit(vectors[:, part], method=method).transform(vectors[:, part]), atol=1e-4)
    assert not fitted.matrix[:3, 3:].any()
    assert not fitted.matrix[3:, :3].any()


def test_as_many_groups_as_dimensions_are_standard_scores(vectors):
    white = Whitening.fit(vectors, method="zca", groups=5).transform(vectors)
    np.testing.assert_allclose(white, (vectors - vectors.mean(0)) / vectors.std(0, ddof=1), atol=1e-4)


@pytest.mark.parametrize(
    ("options", "what"), [({"groups": 6}, "6 groups"), ({"groups": 0}, "0 groups"), ({"groups": 2, "dim": 3}, "leave out")]
)
def test_groups_that_cannot_be(vectors, options, what):
    with pytest.raises(ConfigError, match=what):
        Whitening.fit(vectors, **options)

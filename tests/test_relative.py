"""The default score of images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from aedetect import AutoencoderTransformer, datasets, to_onnx
from aedetect.scoring import Detector
from aedetect.scoring.neighbors import N_NEIGHBORS
from aedetect.scoring.relative import N_CLOSE, SMALLEST

SHAPE = {"image_shape": (1, 8, 8)}
SMALL = {"hidden_layer_sizes": (32, 16), "max_epochs": 60, "random_state": 0, **SHAPE}
NETWORKS = {
    "dense": {},
    "conv": {"network": "conv", "hidden_layer_sizes": (4, 4), "max_epochs": 5},
    "ensemble": {"n_members": 3, "max_epochs": 5},
    "bce": {"loss": "bce", "max_epochs": 5},
    "missing": {"missing": "mask", "max_epochs": 5},
}


@pytest.fixture(scope="module")
def problem():
    """Return training images of all digits but 1, and test images with ones as anomalies."""
    normal = [0, *range(2, 10)]
    return datasets.make_anomaly_split(*datasets.load_digits(), normal=normal, random_state=0)


@pytest.fixture(scope="module", params=NETWORKS)
def detector(request, problem):
    return AutoencoderTransformer(4, **{**SMALL, **NETWORKS[request.param]}).fit(problem[0][:300])


def test_it_is_the_default_for_images_alone(problem):
    X, X_test, _ = problem

    def scores(score, image_shape):
        settings = {**SMALL, "max_epochs": 2, "image_shape": image_shape}
        estimator = AutoencoderTransformer(4, anomaly_score=score, **settings)
        return estimator.fit(X[:100]).score_samples(X_test[:50])

    np.testing.assert_array_equal(scores("auto", (1, 8, 8)), scores("relative", (1, 8, 8)))
    assert (scores("auto", None) != scores("relative", None)).all()


def test_odd_images_score_lower_and_more_surely_than_by_sap(problem, estimator_class):
    X, X_test, y_test = problem
    settings = {**SMALL, "max_epochs": 30}
    relative, sap = (
        estimator_class(anomaly_score=score, **settings).fit(X).score_samples(X_test)
        for score in ("relative", "sap")
    )
    assert (relative <= 0).all()
    assert roc_auc_score(y_test, relative) > roc_auc_score(y_test, sap)


def spacing(points, X, smoothing, n_skipped):
    """Return the mean logarithm of distances, and all distances with the points' numbers."""
    distances, places = (
        found[:, n_skipped:]
        for found in NearestNeighbors(n_neighbors=N_NEIGHBORS + n_skipped).fit(points).kneighbors(X)
    )
    return np.log(distances[:, :N_CLOSE] + smoothing).mean(axis=1), distances + smoothing, places


def test_the_score_is_the_mean_of_sap_by_contrast_and_of_a_local_outlier_factor(problem):
    X, X_test, _ = problem
    estimator = AutoencoderTransformer(4, **SMALL).fit(X)
    score = estimator.detector_.score
    sap = -estimator.set_params(anomaly_score="sap").fit(X).score_samples(X_test)
    codes, z = estimator.transform(X), estimator.transform(X_test)
    smoothing = score.surroundings.bank.smoothing
    own = spacing(codes, codes, smoothing, 1)[0]
    close, distances, places = spacing(codes, z, smoothing, 0)
    weights = distances[:, -1:] ** 2 - distances**2 + smoothing**2
    factor = np.exp(2 * (close - np.average(own[places], axis=1, weights=weights)))
    contrast = X_test.std(axis=1) / np.sqrt(X.var(axis=1).mean())
    expected = np.sqrt(sap / np.maximum(contrast, SMALLEST) * factor)
    estimator.set_params(anomaly_score="auto").fit(X)
    np.testing.assert_allclose(-estimator.score_samples(X_test), expected, rtol=1e-3)


def test_contrast_is_that_of_pixels_before_scaling(problem):
    X, X_test, _ = problem
    scores = [
        AutoencoderTransformer(4, **{**SMALL, "max_epochs": 2, "scaling": "common"})
        .fit(factor * X[:100] + shift)
        .score_samples(factor * X_test + shift)
        for factor, shift in ((1, 0), (256, 1000))
    ]
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-2)


def test_scores_do_not_depend_on_the_batch_or_the_number_of_threads(detector, problem):
    X = np.concatenate([problem[1][:150], problem[0][:50]])
    scores = detector.score_samples(X)
    parts = [detector.score_samples(part) for part in np.array_split(X, 17)]
    np.testing.assert_array_equal(np.concatenate(parts), scores)
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1 if n_threads > 1 else 2)
    np.testing.assert_array_equal(detector.score_samples(X[::-1])[::-1], scores)
    torch.set_num_threads(n_threads)


def test_a_training_image_is_judged_without_itself(detector, problem):
    X = problem[0][:300]
    rounded, moved = (detector.score_samples(X * factor) for factor in (1 - 1e-7, 1 - 1e-3))
    scores = detector.score_samples(X)
    np.testing.assert_allclose(rounded, scores, rtol=1e-3)
    assert np.mean(scores < moved) > 0.9


def test_a_state_gives_the_scores_that_it_was_made_of(detector, problem):
    again = Detector.from_state(detector.detector_.to_state())
    X = problem[1][:60]
    np.testing.assert_array_equal(again.score_samples(X), detector.score_samples(X))


@pytest.mark.parametrize("n_rows", [2, 3, 30])
def test_few_equal_and_blank_images_have_finite_scores(n_rows):
    X = np.random.RandomState(0).rand(n_rows, 64)
    settings = {**SMALL, "max_epochs": 3}
    estimator = AutoencoderTransformer(4, **settings).fit(X)
    assert np.isfinite(estimator.score_samples(np.concatenate([X, 0 * X]))).all()
    for grey in (0.0, 3.0):
        equal = np.full((n_rows, 64), grey)
        estimator = AutoencoderTransformer(4, **settings).fit(equal)
        assert (estimator.predict(equal) == 1).all()
        assert np.isfinite(estimator.score_samples(X)).all()


def test_odd_images_are_explained_and_repaired():
    X, y = datasets.load_digits()
    noughts = X[y == 0]
    estimator = AutoencoderTransformer(max_epochs=60, random_state=0, **SHAPE).fit(noughts[:120])
    odd = noughts[120:132].reshape(-1, 8, 8).copy()
    odd[:, 3:5, 3:5] = 1  # the middle of a nought is empty
    odd = odd.reshape(-1, 64)
    assert (estimator.predict(odd) == -1).all()
    heat = estimator.explain(odd).reshape(-1, 8, 8)
    assert (heat[:, 3:5, 3:5].mean(axis=(1, 2)) > 2 * heat.mean(axis=(1, 2))).all()
    repaired = estimator.repair(odd)
    assert (estimator.predict(repaired) == 1).all()
    assert (repaired == odd).any(axis=1).all()


@pytest.mark.slow
@pytest.mark.parametrize("detector", ["conv", "missing"], indirect=True)
def test_a_graph_agrees_with_python(detector, problem, tmp_path):
    pytest.importorskip("skl2onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    X = np.concatenate([problem[1][:500], problem[0][:20]]).astype(np.float64)
    session = onnxruntime.InferenceSession(to_onnx(detector, tmp_path / "detector.onnx"))
    names = [output.name for output in session.get_outputs()]
    outputs = dict(zip(names, session.run(None, {"X": X}), strict=True))
    np.testing.assert_allclose(outputs["score_samples"], detector.score_samples(X), rtol=1e-5)

"""scikit-learn's searches, with all candidates and folds trained side by side."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, Self

from numpy.typing import ArrayLike
from sklearn.callback import AutoPropagatedCallback
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, RandomizedSearchCV
from sklearn.pipeline import Pipeline

from aedetect.estimators.base import BaseAutoencoder
from aedetect.estimators.memo import autoencoders_in, open_memo, with_memo
from aedetect.model_selection.ahead import SplitsAhead, train_ahead

NOTES = """
    The parameters, the attributes and the results are those of {base}, to the last bit on a CPU,
    but for times: ``mean_fit_time`` leaves out the training of networks that are trained side by
    side. On a GPU such networks share their draws, so results differ from those of {base} by draws
    and rounding; equal searches give equal results.

    Side by side are trained: dense networks (``network="dense"`` without ``tied_weights`` and
    ``contractive``) in float32, of an estimator of this package or of one that is a step of a
    Pipeline. Candidates may differ in anything; those with one shape of network and one loss share
    their steps. All other fits train as they do in {base}, and so do candidates that replace a
    whole step of a Pipeline, estimators with callbacks, and fits with parameters for ``fit``.
    ``n_jobs`` processes take chunks of the candidates, and so do the GPUs of an estimator whose
    ``device`` is a list of them.

    Warns
    -----
    UserWarning
        If ``scoring`` is None: the score of an estimator of this package is its mean score of
        held-out rows, which does not tell which candidate finds anomalies.
"""

HELD_OUT = (
    "scoring=None compares candidates by their mean score of held-out rows. That is no measure of"
    " how well they find anomalies: with the default score, such searches pick networks that are"
    " worse than the default one on most benchmark tables. With labelled rows, y=+1 for normal and"
    " -1 for anomalies, use scoring='roc_auc'. Without labels keep the defaults, or use"
    " scoring=aedetect.model_selection.synthetic_auroc(), whose worth the documentation states."
)


def _described(cls: type) -> type:
    """Complete a docstring with the notes that all searches share."""
    assert cls.__doc__ is not None
    cls.__doc__ = cls.__doc__.replace("{notes}", NOTES.format(base=cls.__mro__[2].__name__).strip())
    return cls


class TrainsAhead:
    """Trains the networks of all candidates and folds before scikit-learn fits them."""

    estimator: Any
    scoring: Any
    n_jobs: int | None
    _checked_cv_orig: Any

    def fit(self, X: ArrayLike, y: ArrayLike | None = None, **params: Any) -> Self:
        """Fit all candidates, and the best one to all rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,), default=None
            Labels for ``scoring``.
        **params : dict of str to object
            As in scikit-learn.

        Returns
        -------
        self : object
        """
        if self.scoring is None and _ends_in_autoencoder(self.estimator):
            warnings.warn(HELD_OUT, stacklevel=2)
        if not self._may_train_ahead(params):
            return super().fit(X, y, **params)  # type: ignore[misc]
        estimator = self.estimator
        with open_memo() as memo:
            self.estimator = with_memo(estimator, memo)
            try:
                return super().fit(X, y, **params)  # type: ignore[misc]
            finally:
                self.estimator = estimator

    def _may_train_ahead(self, params: dict[str, Any]) -> bool:
        for_fit = {name for name, value in params.items() if value is not None} - {"groups"}
        # Such callbacks follow the fits of all candidates, epoch by epoch.
        callbacks = getattr(self, "_skl_callbacks", [])
        follows = any(isinstance(callback, AutoPropagatedCallback) for callback in callbacks)
        return bool(autoencoders_in(self.estimator)) and not for_fit and not follows

    def _run_search(self, evaluate_candidates: Callable[..., Any], *, callback_ctx: Any) -> None:
        memos = [autoencoder._memo for autoencoder in autoencoders_in(self.estimator)]

        def evaluate(candidates: Any, cv: Any = None, **options: Any) -> Any:
            candidates = list(candidates)
            cv = SplitsAhead(cv or self._checked_cv_orig, partial(self._train_ahead, candidates))
            return evaluate_candidates(candidates, cv, **options)

        chosen = evaluate if memos and memos[0] is not None else evaluate_candidates
        super()._run_search(chosen, callback_ctx=callback_ctx)  # type: ignore[misc]

    def _train_ahead(self, candidates: list[dict[str, Any]], X: Any, y: Any, splits: list) -> None:
        tasks = [(parameters, rows) for parameters in candidates for rows, _ in splits]
        train_ahead(self.estimator, X, y, tasks, n_jobs=self.n_jobs)


def _ends_in_autoencoder(estimator: Any) -> bool:
    while isinstance(estimator, Pipeline):
        estimator = estimator.steps[-1][1]
    return isinstance(estimator, BaseAutoencoder)


@_described
class GridSearch(TrainsAhead, GridSearchCV):
    """:class:`~sklearn.model_selection.GridSearchCV` that trains all networks side by side.

    {notes}

    See Also
    --------
    RandomizedSearch : Draws candidates.
    HalvingGridSearch : Drops candidates on the way.
    synthetic_auroc : Score for searches without labels.

    Examples
    --------
    >>> from aedetect import DenoisingAutoencoder, datasets
    >>> from aedetect.model_selection import GridSearch
    >>> X, y = datasets.load_digits()
    >>> labels = (y == 3) * 2 - 1  # +1 for the digit 3, -1 for others
    >>> grid = {"learning_rate": [1e-3, 3e-3], "noise_level": [0.2, 0.5]}
    >>> detector = DenoisingAutoencoder(hidden_layer_sizes=(32,), max_epochs=5, random_state=0)
    >>> search = GridSearch(detector, grid, scoring="roc_auc", cv=2).fit(X, labels)
    >>> sorted(search.best_params_)
    ['learning_rate', 'noise_level']
    """


@_described
class RandomizedSearch(TrainsAhead, RandomizedSearchCV):
    """:class:`~sklearn.model_selection.RandomizedSearchCV` that trains all networks side by side.

    {notes}

    See Also
    --------
    GridSearch : Tries all candidates of a grid.

    Examples
    --------
    >>> from scipy.stats import loguniform
    >>> from aedetect import DenoisingAutoencoder, datasets
    >>> from aedetect.model_selection import RandomizedSearch
    >>> X, y = datasets.load_digits()
    >>> labels = (y == 3) * 2 - 1  # +1 for the digit 3, -1 for others
    >>> detector = DenoisingAutoencoder(hidden_layer_sizes=(32,), max_epochs=5, random_state=0)
    >>> search = RandomizedSearch(
    ...     detector,
    ...     {"learning_rate": loguniform(1e-4, 1e-2)},
    ...     n_iter=3,
    ...     scoring="roc_auc",
    ...     cv=2,
    ...     random_state=0,
    ... )
    >>> len(search.fit(X, labels).cv_results_["params"])
    3
    """


@_described
class HalvingGridSearch(TrainsAhead, HalvingGridSearchCV):
    """:class:`~sklearn.model_selection.HalvingGridSearchCV` that trains networks side by side.

    Those of one iteration are trained together.

    {notes}

    See Also
    --------
    GridSearch : Fits all candidates to all rows.

    References
    ----------
    L. Li, K. Jamieson, G. DeSalvo, A. Rostamizadeh & A. Talwalkar, "Hyperband: a novel bandit-based
    approach to hyperparameter optimization", Journal of Machine Learning Research, 2018, for
    successive halving.

    Examples
    --------
    >>> from aedetect import DenoisingAutoencoder, datasets
    >>> from aedetect.model_selection import HalvingGridSearch
    >>> X, y = datasets.load_digits()
    >>> labels = (y == 3) * 2 - 1  # +1 for the digit 3, -1 for others
    >>> grid = {"learning_rate": [1e-3, 3e-3], "noise_level": [0.2, 0.5]}
    >>> detector = DenoisingAutoencoder(hidden_layer_sizes=(32,), max_epochs=5, random_state=0)
    >>> search = HalvingGridSearch(
    ...     detector, grid, factor=2, scoring="roc_auc", cv=2, random_state=0
    ... ).fit(X, labels)
    >>> search.n_candidates_  # after each iteration half of them are left
    [4, 2, 1]
    """

"""The base class of the three estimators: scikit-learn's side of a fitted Detector."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from numbers import Real
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    OutlierMixin,
    TransformerMixin,
)
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.utils import Tags, check_array, check_scalar
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from aedetect.blocks import Blocks
from aedetect.corruption import Corruption
from aedetect.estimators.containers import unpack
from aedetect.estimators.defaults import resolve_latent_dim, resolve_layer_sizes
from aedetect.estimators.fitting import Fit, Schedule
from aedetect.estimators.frames import (
    Names,
    in_frame,
    levels_in_frame,
    names_of,
    with_changes,
)
from aedetect.estimators.known_rows import check_known
from aedetect.estimators.memo import Memo
from aedetect.estimators.progress import History, warn_of_interruption
from aedetect.estimators.row_tables import check_new_rows, refuse_rows
from aedetect.estimators.splitting import Split
from aedetect.estimators.stored import from_stored, to_stored
from aedetect.estimators.tables import as_finite
from aedetect.estimators.threshold_rules import check_fpr, check_labels, check_one_rule
from aedetect.model import NetworkSpec, check_finite
from aedetect.networks import Autoencoder, summarize
from aedetect.places import names_places
from aedetect.scoring import (
    Detector,
    FloatArray,
    alarm_threshold,
    labelled_threshold,
    threshold,
)
from aedetect.training import Exchange, Objective, resolve_devices


class BaseAutoencoder(
    CallbackSupportMixin,
    OutlierMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
):
    """Fit, transform and score with an autoencoder.

    A fitted estimator holds a Detector, and its methods check X and pass it on. Subclasses say what
    network is built and what loss is minimised.
    """

    detector_: Detector
    history_: History
    n_iter_: int
    n_features_in_: int
    _column_numbers: list[int] | None  # names of columns that are whole numbers
    _shaped_by: dict[str, str]  # parameters that the weights belong to, as text
    _corruption: Corruption | None  # the noise that the network was trained against
    _continuation: dict[str, Any] | None  # states of optimiser and generators, to go on with
    _memo: Memo | None = None  # of networks that were trained ahead, until a fit
    _exchange: Exchange | None = None  # with other processes that take part in the next fit

    def __init__(
        self,
        latent_dim: int | Literal["auto"] = "auto",
        *,
        network: str | Autoencoder = "dense",
        hidden_layer_sizes: Sequence[int] | Literal["auto"] = "auto",
        max_epochs: int | Literal["auto"] = "auto",
        anomaly_score: str = "auto",
        contamination: float | Literal["auto"] = "auto",
        labels: Literal["ignore", "use"] = "ignore",
        image_shape: tuple[int, int, int] | None = None,
        max_shift: int | Literal["auto"] = "auto",
        scaling: str | None = "auto",
        missing: str = "error",
        categorical_features: str | ArrayLike | None = "from_dtype",
        loss: str = "mse",
        activation: str = "relu",
        batch_norm: bool = False,
        dropout: float = 0.0,
        optimizer: str = "adam",
        learning_rate: float = 1e-3,
        schedule: str = "onecycle",
        batch_size: int | Literal["auto"] = "auto",
        validation_fraction: float = 0.1,
        patience: int = 50,
        random_state: int | np.random.RandomState | None = None,
        n_members: int = 1,
        device: str | torch.device | Sequence[str | torch.device] = "auto",
        verbose: int | bool = False,
        warm_start: bool = False,
        checkpoint: str | os.PathLike | None = None,
        downsample: str = "stride",
        upsample: str = "nearest",
        latent: str = "vector",
        latent_activation: str = "identity",
        tied_weights: bool = False,
        l1_activity: float = 0.0,
        contractive: float = 0.0,
        weight_decay: float = 0.0,
        precision: str = "float32",
        compile: bool = False,
    ) -> None:
        self.latent_dim = latent_dim
        self.network = network
        self.hidden_layer_sizes = hidden_layer_sizes
        self.max_epochs = max_epochs
        self.anomaly_score = anomaly_score
        self.contamination = contamination
        self.labels = labels
        self.image_shape = image_shape
        self.max_shift = max_shift
        self.scaling = scaling
        self.missing = missing
        self.categorical_features = categorical_features
        self.loss = loss
        self.activation = activation
        self.batch_norm = batch_norm
        self.dropout = dropout
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.batch_size = batch_size
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.random_state = random_state
        self.n_members = n_members
        self.device = device
        self.verbose = verbose
        self.warm_start = warm_start
        self.checkpoint = checkpoint
        self.downsample = downsample
        self.upsample = upsample
        self.latent = latent
        self.latent_activation = latent_activation
        self.tied_weights = tied_weights
        self.l1_activity = l1_activity
        self.contractive = contractive
        self.weight_decay = weight_decay
        self.precision = precision
        self.compile = compile

    # Subclasses decide these.

    _is_variational = False  # whether the encoder gives means and log-variances
    _adds_noise = False  # whether the network is trained against noise
    _prior_weight = 1.0  # of the divergence from the prior in the evidence lower bound

    def _make_objective(self, corruption: Corruption | None) -> Objective:
        """Return the loss that training minimises."""
        raise NotImplementedError

    def _make_corruption(self, x: Tensor, blocks: Blocks | None) -> Corruption | None:
        """Return the noise of training, given all scaled training rows."""
        return None

    def _check_own_parameters(self) -> None:
        """Refuse parameters of the subclass that contradict each other."""

    def _make_spec(self, n_features: int, width: int) -> NetworkSpec:
        """Return the description of the network for rows of this width, of so many columns."""
        kind = "own" if isinstance(self.network, Autoencoder) else str(self.network)
        shape = None if self.image_shape is None else tuple(np.asarray(self.image_shape).tolist())
        sizes = () if kind == "own" else resolve_layer_sizes(self.hidden_layer_sizes, kind, shape)
        return NetworkSpec(
            kind=kind,
            n_features=width,
            latent_dim=int(resolve_latent_dim(self.latent_dim, n_features)),
            hidden_layer_sizes=tuple(int(size) for size in sizes),
            activation=str(self.activation),
            latent_activation=str(self.latent_activation),
            batch_norm=bool(self.batch_norm),
            dropout=float(self.dropout),
            tied_weights=bool(self.tied_weights),
            downsample=str(self.downsample),
            upsample=str(self.upsample),
            latent=str(self.latent),
            image_shape=shape,
            takes_missing=self.missing == "mask",
            is_variational=self._is_variational,
            n_members=int(self.n_members),
        )

    # Fitting.

    @names_places
    @with_callbacks
    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Train the network on ``X`` and set the threshold.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or Rows
            Training rows, at least two. A few anomalies among them do little harm. Rows are those
            that :func:`~aedetect.open_rows` returns.
        y : array-like of shape (n_samples,), default=None
            Ignored with ``labels="ignore"``, the default. With ``labels="use"``: +1 for rows that
            are known to be normal, -1 for known anomalies and 0 for all others.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter is out of its range. If ``X`` has fewer than two rows, or a cell that is
            infinite, missing (without ``missing="mask"``) or, with ``loss="bce"``, outside [0, 1].
            If labels are used and ``y`` holds other values or no anomaly. If training diverges. If
            the file of ``checkpoint`` is damaged or that of another fit.
        OSError
            If the checkpoint cannot be written. The one written before stays.
        MemoryError
            If the device's memory does not hold the network and single rows, or a batch of a dense
            network.

        Warns
        -----
        UserWarning
            If Ctrl-C ended training early, or a batch has to be computed in parts.

        Notes
        -----
        The first Ctrl-C ends training after the present step. The estimator is then fitted with its
        present weights, or with those of the best epoch if rows are held out. A second Ctrl-C, or
        one during a search, raises ``KeyboardInterrupt``.
        """
        self._validate_params()
        goes_on = self.warm_start and is_fitted(self)
        fit = Fit.begin(self, X, y, self._devices(), goes_on=goes_on)
        checkpoint = fit.open_checkpoint()
        with fit.naming_rows():
            attributes, run = fit.train(
                fit.start_network(),
                fit.split(self.validation_fraction),
                Schedule(self.max_epochs, self.schedule),
                history_before=checkpoint.start["history"] if checkpoint else fit.history_before,
                checkpoint=checkpoint,
                keeps_state=self.warm_start,
            )
        self._set_fitted(attributes)
        if run.interrupted:
            warn_of_interruption(self.n_iter_, self.checkpoint)
        elif checkpoint is not None:
            checkpoint.remove()
        return self

    @names_places
    @with_callbacks
    def partial_fit(self, X: ArrayLike, y: object = None) -> Self:
        """Train for one pass over ``X``, from the present weights.

        The first call begins as ``fit`` does: it draws first weights and fits the scaling of the
        columns. Every call keeps the states of optimiser and random generators for the next. After
        a ``fit``, ``partial_fit`` goes on with its weights, and with the state of its optimiser if
        ``warm_start=True`` kept it.

        All rows are trained on, at a constant ``learning_rate``; ``validation_fraction``,
        ``patience``, ``schedule``, ``max_epochs`` and ``checkpoint`` are ignored. Score and
        threshold are fitted to the rows of the last call. The history is extended.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows, at least two.
        y : ignored
            Present for API consistency.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            As in ``fit``, and if a parameter that shapes the network was changed. The estimator
            then stays as it was.
        """
        self._validate_params()
        if self.labels == "use":
            raise ValueError(
                "partial_fit takes no labels: set labels='ignore', and pass known rows to feedback"
                " after the last call."
            )
        fit = Fit.begin(self, X, None, self._devices(), goes_on=is_fitted(self))
        if fit.pooled:
            raise ValueError(
                "partial_fit takes rows that fit into memory together. fit reads them in pools, or"
                " pass parts of them, such as rows[:100_000], in random order."
            )
        # In random order: scores take distances to the first rows.
        rows = np.random.RandomState(0).permutation(len(fit.table.X))
        attributes, run = fit.train(
            fit.start_network(),
            Split(held_out=rows[:0], fitted=rows),
            Schedule(max_epochs=1, learning_rate="constant"),
            history_before=fit.history_before,
            checkpoint=None,
            keeps_state=True,
        )
        self._set_fitted(attributes)
        if run.interrupted:
            warn_of_interruption(self.n_iter_, checkpoint=None)
        return self

    def _set_fitted(self, attributes: dict[str, Any]) -> None:
        """Replace all fitted attributes at once: a fit that fails changes none."""
        kept = {name: value for name, value in vars(self).items() if name not in FITTED}
        self.__dict__ = {**kept, **attributes}

    def set_threshold(
        self,
        *,
        fpr: float | None = None,
        contamination: float | None = None,
        labels: tuple[ArrayLike, ArrayLike] | None = None,
        X: ArrayLike | None = None,
    ) -> Self:
        """Set ``offset_`` by one rule of three, without a fit.

        Parameters
        ----------
        fpr : float in (0, 1), default=None
            Share of new normal rows to flag. With ``X`` it is kept on average, if the rows of ``X``
            are normal and had no part in the fit; :meth:`ConformalDetector.fpr_interval` says how
            far off it may be. Without ``X`` it is an estimate from the training rows. Each of these
            is left out of covariances and neighbours, but not of the network's training.
        contamination : float in (0, 0.5], default=None
            Share of the rows of ``X`` to flag; without ``X``, of the training rows.
        labels : pair (X, y), default=None
            Rows and their labels, +1 for normal and -1 for anomalies, some of each. The threshold
            has the largest balanced accuracy on them: the mean of two shares, that of the normal
            rows which are not flagged and that of the anomalies which are.
        X : array-like of shape (n_samples, n_features), default=None
            Rows for ``fpr`` (normal ones) or ``contamination``.

        Returns
        -------
        self : object
            With another ``offset_``; all else, the parameters too, is as before.

        Raises
        ------
        ValueError
            If not exactly one rule is given, if its value is out of range, or if there are fewer
            rows than ``1 / fpr - 1``.

        Examples
        --------
        >>> from aedetect import DenoisingAutoencoder, datasets
        >>> X, y = datasets.load_digits()
        >>> detector = DenoisingAutoencoder(random_state=0).fit(X[y == 3][:100])
        >>> normal = X[y == 3][100:]
        >>> is_anomaly = detector.set_threshold(fpr=0.05, X=normal).predict(X) == -1
        """
        check_is_fitted(self)
        check_one_rule(fpr=fpr, contamination=contamination, labels=labels)
        if labels is not None:
            rows, y = check_labels(labels, X)
            self.offset_ = labelled_threshold(self.score_samples(rows), y)
            return self
        scores = self.detector_.left_out_scores if X is None else self.score_samples(X)
        if fpr is not None:
            self.offset_ = alarm_threshold(scores, check_fpr(fpr, len(scores)))
        else:
            limits = {"min_val": 0, "max_val": 0.5, "include_boundaries": "right"}
            share = check_scalar(contamination, "contamination", Real, **limits)
            self.offset_ = threshold(scores, share, held_out=np.arange(0))
        return self

    @names_places
    def feedback(self, X: ArrayLike, labels: ArrayLike) -> Self:
        """Tell the fitted estimator about known rows, without a fit of the network.

        A linear function is fitted that tells known anomalies from known normal rows and a sample
        of the training rows. It is joined with the score: a row is odd if one of the two finds it
        odd, and none seems less odd than without labels. ``offset_`` moves along, so that about as
        many training rows are flagged as before. Rows of earlier calls, and of a ``fit`` with
        ``labels="use"``, stay known.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows whose labels are known; they may be training rows.
        labels : array-like of shape (n_samples,)
            +1 for normal rows, -1 for anomalies, of which one must be known, and 0 to take back
            the label of an earlier call.

        Returns
        -------
        self : object
            With another score and another ``offset_``; all else is as before.

        Raises
        ------
        ValueError
            If there is not one label a row, if a label is another number, or if no anomaly is
            known. The estimator then stays as it was.

        Examples
        --------
        >>> from aedetect import DenoisingAutoencoder, datasets
        >>> X, y = datasets.load_digits()
        >>> detector = DenoisingAutoencoder(max_epochs=5, random_state=0).fit(X[y != 8])
        >>> eights = X[y == 8]
        >>> before = (detector.predict(eights[10:]) == -1).mean()
        >>> detector = detector.feedback(eights[:10], [-1] * 10)
        >>> bool((detector.predict(eights[10:]) == -1).mean() > before)
        True
        """
        refuse_rows(X, "feedback")
        rows = self._check_new_rows(X)
        self.detector_ = self.detector_.with_labels((rows, check_known(labels, rows)))
        return self

    # Scores and decisions.

    @names_places
    def score_samples(self, X: ArrayLike) -> FloatArray:
        """Return how normal each row is: minus its ``anomaly_score``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or Rows

        Returns
        -------
        scores : ndarray of shape (n_samples,), float64
            Minus a squared distance (see the parameter ``anomaly_score``). At most 0; higher is
            more normal. A row equal to a training row is scored as if that had been left out.

        Raises
        ------
        ValueError
            If a score is not finite.
        """
        rows = self._check_new_rows(X)
        return self.detector_.score_samples(rows)

    def decision_function(self, X: ArrayLike) -> FloatArray:
        """Return the scores shifted so that anomalies are negative.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or Rows

        Returns
        -------
        decisions : ndarray of shape (n_samples,), float64
            ``score_samples(X) - offset_``.
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X: ArrayLike) -> NDArray[np.int_]:
        """Return +1 for normal rows and -1 for anomalies.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or Rows

        Returns
        -------
        labels : ndarray of shape (n_samples,), int
            -1 where ``decision_function(X)`` is negative.
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    def score(self, X: ArrayLike, y: object = None) -> float:
        """Return the mean of ``score_samples``, which ``GridSearchCV`` maximises by default.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored
            Present for API consistency.

        Returns
        -------
        score : float
            At most 0; higher means that the rows look more normal. Comparable only between
            estimators of one ``anomaly_score``, ``loss`` and ``scaling``.
        """
        return float(self.score_samples(X).mean())

    @names_places
    def explain(self, X: ArrayLike) -> Any:
        """Return how much each feature adds to the anomaly of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        contributions : ndarray or frame of shape (n_samples, n_features), float64
            Never negative; larger is odder. A frame with X's columns, and index, where X is one of
            pandas or polars, or ``set_output`` asks for one.

            - ``anomaly_score="reconstruction"``: each feature's error. A row adds up to
              ``-score_samples``.
            - ``"standardized"``: each feature's error in units of what is usual for it, divided by
              the number of features. A row adds up to ``-score_samples``.
            - All other scores: the feature's surprise. The logarithm of the score is taken before
              and after the feature is restored, and the fall is divided by the mean fall over the
              features of held-out rows: 1 is usual, 10 is ten times as much. Surprises do not add
              up to the score.
            - Those scores for images (``image_shape``): the mean squared residual of 3x3 pixels,
              divided by its mean over held-out rows. This explains the reconstruction alone.

        Notes
        -----
        The surprises of a row take twice as many reconstructions as there are features, and about
        thirty scores. Those of the eight features that move most when they are restored are
        computed; the others are estimated from the gradient of the score. Images take one
        reconstruction a row.
        """
        refuse_rows(X, "explain")
        rows = self._check_new_rows(X)
        contributions = self.detector_.explain(rows)
        return in_frame(contributions, X, names_of(X, self), self, like_X=True)

    @names_places
    def repair(self, X: ArrayLike) -> Any:
        """Return the nearest normal version of every row, with few features changed.

        A sparse bias is added to an anomaly until it counts as normal (ARCANA; Roelofs et al.,
        "Autoencoder-based anomaly root cause analysis for wind turbines", Energy and AI, 2021).
        The features that differ from X afterwards are those that made the row odd.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        X_repaired : ndarray or frame of shape (n_samples, n_features)
            In the units and the dtype of X; a frame with its columns, and index, where X is one of
            pandas or polars, or ``set_output`` asks for one. Normal rows and features that are not
            changed are equal to those of X bit for bit. Changed values are real numbers, also in
            columns of integers.

        Warns
        -----
        UserWarning
            If rows could not be made normal; for these, the most normal rows found are returned.
        """
        refuse_rows(X, "repair")
        rows = self._check_new_rows(X)
        repaired, n_left = self.detector_.repair(rows)
        if n_left:
            warnings.warn(
                f"{n_left} anomalies could not be made normal: for these, the most normal rows"
                " found are returned.",
                stacklevel=3,  # of the caller, beyond names_places
            )
        is_changed = ~((repaired == rows) | np.isnan(repaired))
        names = names_of(X, self)
        return self._in_units(repaired, X, names, like_X=True, is_changed=is_changed)

    # Codes and reconstructions.

    @names_places
    def transform(self, X: ArrayLike) -> NDArray[np.floating]:
        """Return the codes of ``X``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or Rows

        Returns
        -------
        Z : ndarray of shape (n_samples, latent_dim)
            float32 for float32 rows, else float64; the posterior means for a VAE.

        Raises
        ------
        ValueError
            If a code is not finite.
        """
        X = self._check_new_rows(X)
        codes = self.detector_.model.encode(X)
        return check_finite(codes, "code").astype(X.dtype, copy=False)

    def inverse_transform(self, Z: ArrayLike) -> Any:
        """Return the decoded rows of codes.

        Parameters
        ----------
        Z : array-like of shape (n_samples, latent_dim)
            Codes.

        Returns
        -------
        X_hat : ndarray or frame of shape (n_samples, n_features)
            Rows in the units of the training data, of the dtype of ``Z``; with ``set_output`` a
            frame with the names of the features.

        Raises
        ------
        ValueError
            If a row is not finite.
        """
        check_is_fitted(self)
        codes = check_array(unpack(Z), dtype=[np.float64, np.float32], input_name="Z")
        if codes.shape[1] != self.latent_dim_:
            raise ValueError(
                f"Z has {codes.shape[1]} columns, but the codes of this {type(self).__name__} have"
                f" {self.latent_dim_}. Pass what transform returned."
            )
        decoded = self.detector_.model.decode(codes.astype(np.float32, copy=False))
        names = names_of(None, self)
        return self._in_units(as_finite(decoded, codes.dtype), Z, names, like_X=False)

    @names_places
    def reconstruct(self, X: ArrayLike) -> Any:
        """Return the reconstruction of every row.

        It is ``inverse_transform(transform(X))`` in one pass, but for ``upsample="unpool"`` without
        a VAE, whose decoder also gets the places of the maxima from the encoder.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or Rows

        Returns
        -------
        X_hat : ndarray or frame of shape (n_samples, n_features)
            In the units and the dtype of ``X``; missing cells are filled. With ``set_output`` a
            frame with the names of the features.

        Raises
        ------
        ValueError
            If a reconstruction is not finite.
        """
        rows = self._check_new_rows(X)
        X_hat = as_finite(self.detector_.model.reconstruct(rows), rows.dtype)
        return self._in_units(X_hat, X, names_of(X, self), like_X=False)

    def summary(self) -> pd.DataFrame:
        """Return a table of the layers of the fitted network.

        With ``n_members`` above 1 it describes one member; all have equal layers.

        Returns
        -------
        table : pandas.DataFrame
            One row a layer: ``layer``, ``output_shape`` (without the batch), ``parameters``
            and ``trained`` (``parameters`` less the running statistics of batch normalisation).
        """
        check_is_fitted(self)
        model = self.detector_.model
        return summarize(model.network, model.spec.n_features)

    def _in_units(
        self,
        rows: NDArray,
        X: Any,
        names: Names,
        *,
        like_X: bool,
        is_changed: NDArray[np.bool_] | None = None,
    ) -> Any:
        """Return rows as users see them; ``is_changed`` says which cells of X they change."""
        coding = self.detector_.model.columns.coding
        if coding is None:
            return in_frame(rows, X, names, self, like_X=like_X)
        frame = levels_in_frame(rows, X, names, self, coding)
        return frame if is_changed is None else with_changes(X, frame, is_changed)

    def _check_new_rows(self, X: ArrayLike) -> NDArray[np.floating]:
        check_is_fitted(self)
        return check_new_rows(self, X)

    def _devices(self) -> tuple[torch.device, ...]:
        """Return the devices of a fit; it trains on the first."""
        devices = resolve_devices(self.device)
        return devices if self._memo is None else self._memo.choose(devices)

    def to(self, device: str | torch.device | Sequence[str | torch.device]) -> Self:
        """Move the fitted estimator: it transforms, scores, explains and repairs there.

        A later ``fit`` trains where the parameter ``device`` says.

        Parameters
        ----------
        device : str, torch.device, or list of them
            As the parameter ``device`` has it.

        Returns
        -------
        self : object
            With a ``network_`` on the device, or the first one.

        Raises
        ------
        ValueError
            If this machine has no such device, or it has no float64, as Apple's MPS.

        Examples
        --------
        >>> from aedetect import AutoencoderTransformer, datasets
        >>> X, _ = datasets.load_digits()
        >>> detector = AutoencoderTransformer(max_epochs=1).fit(X)
        >>> scores = detector.to("cpu").score_samples(X)
        """
        check_is_fitted(self)
        self.detector_ = self.detector_.to(*resolve_devices(device))
        return self

    # Fitted attributes that the detector holds.

    @property
    def network_(self) -> Autoencoder:
        """The trained network."""
        return self._detector("network_").model.user_network

    @property
    def offset_(self) -> float:
        """The score below which rows are anomalies. Setting it moves the threshold."""
        return self._detector("offset_").offset

    @offset_.setter
    def offset_(self, offset: float) -> None:
        self.detector_ = self._detector("offset_").with_offset(offset)

    @property
    def latent_dim_(self) -> int:
        """The width of the code; of all members' codes together, where there are several."""
        model = self._detector("latent_dim_").model
        return model.spec.n_members * model.latent_dim

    def _detector(self, name: str) -> Detector:
        if not is_fitted(self):  # hasattr tells whether an estimator is fitted
            raise AttributeError(f"{type(self).__name__} has no {name!r} before fit.")
        return self.detector_

    # State and tags.

    @property
    def _n_features_out(self) -> int:
        return self.latent_dim_

    def __sklearn_is_fitted__(self) -> bool:
        return is_fitted(self)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.input_tags.allow_nan = self.missing == "mask"
        return tags

    def __sklearn_clone__(self) -> Self:
        twin = super().__sklearn_clone__()
        if self._memo is not None:
            twin._memo = self._memo
        return twin

    def __getstate__(self) -> dict[str, Any]:
        """Return the state as NumPy arrays and plain Python, which any machine can load."""
        return to_stored(dict(super().__getstate__()))

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(from_stored(self, state))


# Attributes that a fit replaces.
FITTED = {
    *("detector_", "history_", "n_iter_", "n_features_in_", "feature_names_in_"),
    *("_column_numbers", "_shaped_by", "_corruption", "_continuation", "_memo", "_exchange"),
}


def is_fitted(estimator: BaseAutoencoder) -> bool:
    """Return whether a fit has succeeded."""
    return "detector_" in vars(estimator)

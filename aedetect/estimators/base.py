"""What the three estimators share: everything but the network's kind and the training loss."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, Literal, Self, cast

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.callback import with_callbacks
from sklearn.utils._param_validation import Interval, StrOptions

from aedetect.estimators.architecture import build
from aedetect.estimators.checks import check_conv, check_image, check_layer_sizes
from aedetect.estimators.fitting import NetworkFitter, Split, local_random_state, split_rows
from aedetect.estimators.places import names_places
from aedetect.estimators.progress import History, warn_of_interruption
from aedetect.losses import FEATURE_ERRORS
from aedetect.networks import ACTIVATIONS, Autoencoder
from aedetect.scoring import SCORES
from aedetect.training import OPTIMIZERS, PRECISIONS, SCHEDULES, resolve_device


class BaseAutoencoder(NetworkFitter):
    """Fit, transform and score with an autoencoder; subclasses choose network and loss."""

    history_: History

    _parameter_constraints: dict[str, list[Any]] = {
        "latent_dim": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "network": [StrOptions({"dense", "conv", "residual"}), Autoencoder],
        "image_shape": ["array-like", None],
        "hidden_layer_sizes": ["array-like", StrOptions({"auto"})],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "latent_activation": [StrOptions(set(ACTIVATIONS))],
        "batch_norm": ["boolean"],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "tied_weights": ["boolean"],
        "downsample": [StrOptions({"stride", "maxpool"})],
        "upsample": [StrOptions({"nearest", "transpose", "unpool"})],
        "latent": [StrOptions({"vector", "map"})],
        "loss": [StrOptions(set(FEATURE_ERRORS))],
        "l1_activity": [Interval(Real, 0, None, closed="left")],
        "contractive": [Interval(Real, 0, None, closed="left")],
        "optimizer": [StrOptions(set(OPTIMIZERS))],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "schedule": [StrOptions(set(SCHEDULES))],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "max_epochs": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "patience": [Interval(Integral, 1, None, closed="left")],
        "scaling": [StrOptions({"auto", "standard", "common"}), None],
        "missing": [StrOptions({"error", "mask"})],
        "anomaly_score": [StrOptions({"auto", *SCORES})],
        "n_members": [Interval(Integral, 1, None, closed="left")],
        "contamination": [Interval(Real, 0, 0.5, closed="right"), StrOptions({"auto"})],
        "random_state": ["random_state"],
        "device": [str, torch.device],
        "precision": [StrOptions(set(PRECISIONS))],
        "compile": ["boolean"],
        "checkpoint": [str, os.PathLike, None],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        latent_dim: int | Literal["auto"] = "auto",
        *,
        network: str | Autoencoder = "dense",
        image_shape: tuple[int, int, int] | None = None,
        hidden_layer_sizes: Sequence[int] | Literal["auto"] = "auto",
        activation: str = "relu",
        latent_activation: str = "identity",
        batch_norm: bool = False,
        dropout: float = 0.0,
        tied_weights: bool = False,
        downsample: str = "stride",
        upsample: str = "nearest",
        latent: str = "vector",
        loss: str = "mse",
        l1_activity: float = 0.0,
        contractive: float = 0.0,
        optimizer: str = "adam",
        learning_rate: float = 1e-3,
        schedule: str = "onecycle",
        weight_decay: float = 0.0,
        batch_size: int | Literal["auto"] = "auto",
        max_epochs: int | Literal["auto"] = "auto",
        validation_fraction: float = 0.1,
        patience: int = 50,
        scaling: str | None = "auto",
        missing: str = "error",
        anomaly_score: str = "auto",
        n_members: int = 1,
        contamination: float | Literal["auto"] = "auto",
        random_state: int | np.random.RandomState | None = None,
        device: str | torch.device = "auto",
        precision: str = "float32",
        compile: bool = False,
        checkpoint: str | os.PathLike | None = None,
        warm_start: bool = False,
        verbose: int | bool = False,
    ) -> None:
        self.latent_dim = latent_dim
        self.network = network
        self.image_shape = image_shape
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.latent_activation = latent_activation
        self.batch_norm = batch_norm
        self.dropout = dropout
        self.tied_weights = tied_weights
        self.downsample = downsample
        self.upsample = upsample
        self.latent = latent
        self.loss = loss
        self.l1_activity = l1_activity
        self.contractive = contractive
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.scaling = scaling
        self.missing = missing
        self.anomaly_score = anomaly_score
        self.n_members = n_members
        self.contamination = contamination
        self.random_state = random_state
        self.device = device
        self.precision = precision
        self.compile = compile
        self.checkpoint = checkpoint
        self.warm_start = warm_start
        self.verbose = verbose

    @names_places
    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Train the network on ``X`` and set the threshold.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows, at least two; a few anomalies among them do little harm.
        y : ignored
            Present for API consistency.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter is out of its range, if ``X`` is not a finite numeric table of two rows
            or more (with NaN for ``missing="mask"`` alone), if it leaves [0, 1] while
            ``loss="bce"``, if training diverges, or if the file of ``checkpoint`` is damaged or
            that of another fit.
        OSError
            If the checkpoint cannot be written. The one written before stays.
        MemoryError
            If the device's memory does not hold the network and single rows.

        Warns
        -----
        UserWarning
            If Ctrl-C ended training early, or a batch has to be computed in parts.

        Notes
        -----
        The first Ctrl-C ends training after the step at hand: the estimator is fitted with the
        weights that it has by then, those of the best epoch if rows are held out. The second, or
        one during a search, raises ``KeyboardInterrupt``.
        """
        self._validate_params()
        return self._become(self._twin()._fit(X))

    @with_callbacks
    def _fit(self, X: ArrayLike) -> Self:
        device = resolve_device(self.device)
        goes_on = self.warm_start and hasattr(self, "network_")
        X = self._begin(X, goes_on=goes_on)
        random_state = local_random_state(self.random_state)
        before = self.history_ if goes_on else None
        checkpoint = self._open_checkpoint(X, device, random_state, before)
        start = self._present_network if goes_on else self._initial_network
        network = start(random_state)
        split = split_rows(len(X), self.validation_fraction, random_state)
        run = self._train(
            network,
            X,
            split,
            device,
            random_state,
            max_epochs=self.max_epochs,
            schedule=self.schedule,
            before=before if checkpoint is None else checkpoint.start["history"],
            continuation=self._continuation_on(device) if goes_on else None,
            checkpoint=checkpoint,
            is_continued=self.warm_start,
        )
        if run.interrupted:
            warn_of_interruption(self.n_iter_, self.checkpoint)
        elif checkpoint is not None:
            checkpoint.remove()
        return self

    @names_places
    def partial_fit(self, X: ArrayLike, y: object = None) -> Self:
        """Train for one pass over ``X``, from where the weights are.

        The first call begins as ``fit`` does: the first weights, the scaling of the columns and
        their number follow from its rows. It and every later one keep the state of the optimiser
        and of the random numbers for the next. After a ``fit``, ``partial_fit`` goes on with its
        weights, and with the state of its optimiser where ``warm_start=True`` kept it.

        All rows are trained on, at the ``learning_rate``: ``validation_fraction``, ``patience``,
        ``schedule``, ``max_epochs`` and ``checkpoint`` have no part in it. The anomaly score and
        the threshold are fitted to the rows of the last call. The history goes on.

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
            As ``fit`` does, and if a parameter that shapes the network has been set anew. The
            estimator then stays as it was.
        """
        self._validate_params()
        return self._become(self._twin()._partial_fit(X))

    @with_callbacks
    def _partial_fit(self, X: ArrayLike) -> Self:
        device = resolve_device(self.device)
        goes_on = hasattr(self, "network_")
        X = self._begin(X, goes_on=goes_on)
        random_state = local_random_state(self.random_state)
        start = self._present_network if goes_on else self._initial_network
        network = start(random_state)
        rows = np.arange(len(X))
        run = self._train(
            network,
            X,
            Split(held_out=rows[:0], fitted=rows),
            device,
            random_state,
            max_epochs=1,
            schedule="constant",
            before=self.history_ if goes_on else None,
            continuation=self._continuation_on(device) if goes_on else None,
            checkpoint=None,
            is_continued=True,
        )
        if run.interrupted:
            warn_of_interruption(self.n_iter_, checkpoint=None)
        return self

    def _twin(self) -> Self:
        """Return another object with these attributes, which is fitted in place of this one."""
        twin = object.__new__(type(self))
        twin.__dict__.update(vars(self))
        return twin

    def _become(self, fitted: Self) -> Self:
        """Take over all attributes at once, so that a fit that fails changes none."""
        self.__dict__ = fitted.__dict__
        return self

    # What a subclass decides.

    _codes_per_dim = 1  # encoder outputs a latent dimension

    def _check_combinations(self) -> None:
        """Refuse parameters that are in range one by one but make no sense together."""
        check_layer_sizes(self.hidden_layer_sizes)
        if self.network == "conv" or self.image_shape is not None:
            check_image(self.image_shape, self.n_features_in_)
        if self.network == "conv":
            check_conv(self)
        if self.compile and self.upsample == "unpool" and self.network == "conv":
            raise ValueError(
                "compile=True cannot be used with upsample='unpool', whose decoder takes more than"
                " a code. Use another upsample, or compile=False."
            )
        if self.tied_weights and self.network != "dense":
            raise ValueError(
                f"tied_weights=True needs network='dense', but it is {self.network!r}: only the"
                " weights of dense layers can be transposed."
            )

    def _make_member(self) -> Autoencoder:
        """Return one network; the weights of one of ours are set afterwards."""
        if self._blueprint is None:
            return copy.deepcopy(cast(Autoencoder, self._architecture))
        return build(self._blueprint)

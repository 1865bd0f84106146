"""What the three estimators share: everything but the network's kind and the training loss."""

from __future__ import annotations

import copy
import dataclasses
import functools
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from numbers import Integral, Real
from typing import Any, Literal, NamedTuple, Self, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from torch import Generator, Tensor

from aedetect.corruption import hide
from aedetect.estimators.architecture import build, make_blueprint
from aedetect.estimators.checks import (
    check_conv,
    check_image,
    check_layer_sizes,
    check_same_network,
    check_scaled,
    check_shapes,
    check_takes_missing,
    check_unit_interval,
)
from aedetect.estimators.defaults import (
    count_held_out,
    resolve_batch_size,
    resolve_max_epochs,
    resolve_score,
)
from aedetect.estimators.detecting import NetworkDetector
from aedetect.estimators.identity import FIXED, as_plain, describe, identify
from aedetect.estimators.progress import FitProgress, History, warn_of_interruption
from aedetect.estimators.scaling import fit_scaling
from aedetect.losses import FEATURE_ERRORS
from aedetect.networks import (
    ACTIVATIONS,
    Autoencoder,
    Ensemble,
    initialize,
    members_of,
)
from aedetect.scoring import (
    SCORES,
    FloatArray,
    Measure,
    ObservedCells,
    fill,
    fit_measure,
    threshold,
)
from aedetect.training import (
    OPTIMIZERS,
    PRECISIONS,
    SCHEDULES,
    Checkpoint,
    Objective,
    Run,
    make_generator,
    move,
    resolve_device,
    seeded_globally,
    train,
)

N_REFERENCE = 10_000  # training rows at most that a score is fitted to: neighbours, covariances
N_LEFT_OUT = 2_000  # of these scored once more, for set_threshold, where no threshold needs it
MIN_CALIBRATED = 20  # reference rows from which the level of rows with missing cells can be learned
HIDDEN = 0.2  # share of the observed cells that training hides for missing="mask"


class BaseAutoencoder(CallbackSupportMixin, NetworkDetector):
    """Fit, transform and score with an autoencoder; subclasses choose network and loss."""

    history_: History
    _fixed: dict[str, str]  # parameters that the weights stand and fall with, as they were

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

    @with_callbacks
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
        device = resolve_device(self.device)
        goes_on = self.warm_start and hasattr(self, "network_")
        X = self._begin(X, goes_on=goes_on)
        random_state = local_random_state(self.random_state)
        before = self.history_ if goes_on else None
        checkpoint = self._open_checkpoint(X, device, random_state, before)
        start = self._present_network if goes_on else self._initial_network
        network = start(random_state)
        split = _split(len(X), self.validation_fraction, random_state)
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

    @with_callbacks
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
            return copy.deepcopy(cast(Autoencoder, self.network))
        return build(self._blueprint)

    def _make_objective(self, x: Tensor) -> Objective:
        """Return what training minimises, given all training rows ``x``, scaled."""
        raise NotImplementedError

    def _complete_objective(self, x: Tensor) -> Objective:
        """Return the same, with cells hidden at random where the network is to fill them."""
        objective = self._make_objective(x)
        if not self._takes_missing:
            return objective
        corrupt = functools.partial(hide_after, objective.corrupt)
        # The derivative of a sole layer would be by the mask too, so it is estimated.
        return dataclasses.replace(objective, corrupt=corrupt, missing=True, sole_layer=None)

    # Fitting.

    def _begin(self, X: ArrayLike, *, goes_on: bool) -> NDArray[np.floating]:
        """Return the rows, checked, once what precedes the weights is set."""
        if not goes_on:
            self.__dict__.pop("network_", None)  # never left beside the scales of a failed fit
            self._takes_missing = self.missing == "mask"
        X = self._check_rows(X, reset=not goes_on, min_rows=2)
        self._check_combinations()
        if self.loss == "bce":
            check_unit_interval(X)
        fixed = describe(self, FIXED)
        if goes_on:
            check_same_network(self._fixed, fixed)
        else:
            self._fixed = fixed
            self._scaling = fit_scaling(X, self.scaling, self.loss)
        return X

    def _open_checkpoint(
        self,
        X: NDArray,
        device: torch.device,
        random_state: np.random.RandomState,
        before: History | None,
    ) -> Checkpoint | None:
        """Return the checkpoint, after which all draws are those of the fit that it belongs to."""
        if self.checkpoint is None:
            return None
        draws = random_state.get_state(legacy=False)
        start = as_plain({"draws": draws, "history": before})
        checkpoint = Checkpoint(self.checkpoint, identify(self, X, device), start)
        random_state.set_state(checkpoint.start["draws"])
        return checkpoint

    def _present_network(self, random_state: np.random.RandomState) -> Autoencoder:
        """Return a copy of the network, so that a fit that fails leaves it as it was."""
        if self._blueprint is not None:
            draw_seed(random_state)  # as the first fit did: the same rows are held out then
        return copy.deepcopy(self.network_)

    def _make_network(self) -> Autoencoder:
        if self._n_members == 1:
            return self._make_member()
        return Ensemble([self._make_member() for _ in range(self._n_members)])

    def _initial_network(self, random_state: np.random.RandomState) -> Autoencoder:
        """Return the network before training: a user's with its weights, ours with drawn ones."""
        self._n_members = self.n_members
        if isinstance(self.network, Autoencoder):
            self._blueprint = None
            network = self._make_network()
        else:
            self._blueprint = make_blueprint(self, self._codes_per_dim)
            with torch.device("meta"):  # PyTorch's layers would draw from its global generator
                network = self._make_network()
            network = network.to_empty(device="cpu")
            initialize(network, make_generator(draw_seed(random_state), torch.device("cpu")))
        self.latent_dim_ = check_shapes(network, self.n_features_in_)  # a map has its own width
        if self._takes_missing:
            check_takes_missing(network, self.n_features_in_)
        return network

    def _train(
        self,
        network: Autoencoder,
        X: NDArray,
        split: Split,
        device: torch.device,
        random_state: np.random.RandomState,
        *,
        max_epochs: int | Literal["auto"],
        schedule: str,
        before: History | None,
        continuation: dict[str, Tensor] | None,
        checkpoint: Checkpoint | None,
        is_continued: bool,
    ) -> Run:
        """Train ``network`` in place, then set it, the history, the score and the threshold."""
        seed = draw_seed(random_state)
        x_val, x_train = (
            move(torch.from_numpy(check_scaled(self._scaling.apply(X, rows), rows)), device)
            for rows in split
        )
        batch_size = resolve_batch_size(self.batch_size, len(x_train), self.image_shape)
        max_epochs = resolve_max_epochs(max_epochs, len(x_train), batch_size, self.image_shape)
        context = self._init_callback_context(max_subtasks=max_epochs)
        context.call_on_fit_task_begin(estimator=self, X=X)
        snapshot = functools.partial(self._snapshot, network, X, split)
        # Layers of a user's own can draw from the global generators alone; ours never do.
        seeded: AbstractContextManager[list[Generator]] = nullcontext([])
        if isinstance(self.network, Autoencoder):
            seeded = seeded_globally(seed, device)
        with (
            seeded as global_generators,
            FitProgress(self, context, X, max_epochs, snapshot, before) as progress,
        ):
            run = train(
                members_of(network.to(device)),
                self._complete_objective(x_train),
                x_train,
                x_val,
                optimizer=self.optimizer,
                learning_rate=self.learning_rate,
                weight_decay=self.weight_decay,
                schedule=schedule,
                batch_size=batch_size,
                max_epochs=max_epochs,
                patience=self.patience,
                precision=self.precision,
                compile=self.compile,
                generator=make_generator(seed, device),
                watcher=progress,
                global_generators=global_generators,
                continuation=continuation,
                checkpoint=checkpoint,
            )
            # Inside, where the global generators are those that the network drew from.
            self._keep_continuation(run if is_continued else None, device)
        self.history_ = progress.history
        self.n_iter_ = len(self.history_["loss"])
        self._set_network(network, X, split)
        context.call_on_fit_task_end(estimator=self, X=X, reconstruction_attributes={})
        return run

    def _keep_continuation(self, run: Run | None, device: torch.device) -> None:
        """Keep what the next ``fit`` or ``partial_fit`` goes on with beside the weights, if asked.

        It is twice as large as the weights, so most fits do not.
        """
        self.__dict__.pop("_continuation", None)
        if run is not None:
            state = {name: tensor.numpy() for name, tensor in run.continuation().items()}
            self._continuation = {"trained_by": self._trained_by(device), "state": state}

    def _continuation_on(self, device: torch.device) -> dict[str, Tensor] | None:
        """Return what training goes on with, unless it was of another optimiser or device."""
        kept = getattr(self, "_continuation", None)
        if kept is None or kept["trained_by"] != self._trained_by(device):
            return None
        # Copies: a training that fails leaves the arrays as they were.
        return {name: torch.tensor(array) for name, array in kept["state"].items()}

    def _trained_by(self, device: torch.device) -> list[Any]:
        return [self.optimizer, device.type, self.precision, self.compile]

    def _set_network(self, network: Autoencoder, X: NDArray, split: Split) -> None:
        """Take a trained network, set score and threshold where it is, and bring it to the CPU.

        There, scores do not depend on the machine.
        """
        self.network_ = network
        self._score_name = resolve_score(self.anomaly_score, self.image_shape)
        if self._device.type == "mps":  # has no float64, which scores are summed in
            network.cpu()
        reference = X[np.concatenate(split)[:N_REFERENCE]]
        held_out = np.arange(min(len(split.held_out), len(reference)))
        if self._takes_missing:
            self._measure = self._fit_observed_cells(reference, len(held_out))
        else:
            self._measure = self._fit_measure(reference, len(held_out))
        if self.contamination == "auto":  # aims at rows to come, which had no part in the fit
            scores = left_out = self._score(reference, left_out=True)
        else:
            scores = self._score(X)
            left_out = self._score(reference[:N_LEFT_OUT], left_out=True)
        self._left_out_scores = np.sort(left_out)
        self.offset_ = threshold(scores, self.contamination, held_out)
        self._usual_surprise = self._fit_usual_surprise(reference, len(held_out))
        network.cpu()

    def _fit_measure(self, reference: NDArray, n_held_out: int) -> Measure:
        """Return what scores rows; the first rows of the reference were held out."""
        members = members_of(self.network_)

        def evaluate(function: Callable[[Tensor], Tensor]) -> NDArray:
            if not self._takes_missing:
                return self._infer(function, reference)
            return self._infer(lambda x: function(fill(members, x, self.loss)), reference)

        return fit_measure(self._score_name, members, self.loss, evaluate, n_held_out)

    def _fit_observed_cells(self, reference: NDArray, n_held_out: int) -> ObservedCells:
        """Return the same for rows with missing cells, brought to the level of complete rows."""
        measure = ObservedCells(self._fit_measure(reference, n_held_out), self.loss)
        if len(reference) < MIN_CALIBRATED:
            return measure
        # The levels are learned from rows that the measure was not fitted to.
        half = ObservedCells(self._fit_measure(reference[::2], -(-n_held_out // 2)), self.loss)
        members = members_of(self.network_)
        return measure.calibrate(
            lambda X: self._infer(lambda x: half(members, x), X), reference[1::2]
        )

    def _snapshot(
        self,
        network: Autoencoder,
        X: NDArray,
        split: Split,
        history: dict[str, FloatArray],
    ) -> dict[str, Any]:
        """Return the fitted attributes as if training had ended now, for callbacks."""
        fitted = copy.copy(self)
        fitted._set_network(copy.deepcopy(network), X, split)
        return {
            "network_": fitted.network_,
            "offset_": fitted.offset_,
            "_measure": fitted._measure,
            "_left_out_scores": fitted._left_out_scores,
            "_usual_surprise": fitted._usual_surprise,
            "_score_name": fitted._score_name,
            "history_": history,
            "n_iter_": len(history["loss"]),
        }


def hide_after(
    corrupt: Callable[[Tensor, Generator], Tensor] | None, x: Tensor, generator: Generator
) -> Tensor:
    """Return rows with noise, where there is one, and with cells hidden at random."""
    return hide(x if corrupt is None else corrupt(x, generator), HIDDEN, generator)


def local_random_state(seed: int | np.random.RandomState | None) -> np.random.RandomState:
    """Return scikit-learn's generator for ``seed``, but a fresh one, not the global, for None."""
    return np.random.RandomState() if seed is None else check_random_state(seed)


def draw_seed(random_state: np.random.RandomState) -> int:
    """Return a seed for one of PyTorch's generators."""
    return int(random_state.randint(np.iinfo(np.int32).max))


class Split(NamedTuple):
    """Numbers of the training rows that the network is judged by, and of those it is fitted to."""

    held_out: NDArray[np.intp]
    fitted: NDArray[np.intp]


def _split(n_rows: int, validation_fraction: float, random_state: np.random.RandomState) -> Split:
    order = random_state.permutation(n_rows)
    n_held_out = count_held_out(n_rows, validation_fraction)
    return Split(order[:n_held_out], order[n_held_out:])

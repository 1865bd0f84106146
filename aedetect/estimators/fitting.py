"""The training half of the estimators: what precedes the weights, training, and what follows."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.callback import CallbackSupportMixin
from sklearn.utils import check_random_state
from torch import Generator, Tensor

from aedetect.corruption import hide
from aedetect.estimators.architecture import make_blueprint
from aedetect.estimators.checks import (
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
from aedetect.estimators.progress import FitProgress, History
from aedetect.estimators.scaling import fit_scaling
from aedetect.networks import Autoencoder, Ensemble, initialize, members_of
from aedetect.scoring import FloatArray, Measure, ObservedCells, fill, fit_measure, threshold
from aedetect.training import (
    Checkpoint,
    Objective,
    Run,
    make_generator,
    move,
    seeded_globally,
    train,
)

N_REFERENCE = 10_000  # training rows at most that a score is fitted to: neighbours, covariances
N_LEFT_OUT = 2_000  # of these scored once more, for set_threshold, where no threshold needs it
MIN_CALIBRATED = 20  # reference rows from which the level of rows with missing cells can be learned
HIDDEN = 0.2  # share of the observed cells that training hides for missing="mask"


class NetworkFitter(CallbackSupportMixin, NetworkDetector):
    """Train a network and set what scores by it; subclasses choose network and loss."""

    _fixed: dict[str, str]  # parameters that the weights stand and fall with, as they were

    def _make_member(self) -> Autoencoder:
        """Return one network; the weights of one of ours are set afterwards."""
        raise NotImplementedError

    def _make_objective(self, x: Tensor) -> Objective:
        """Return what training minimises, given all training rows ``x``, scaled."""
        raise NotImplementedError

    def _check_combinations(self) -> None:
        """Refuse parameters that are in range one by one but make no sense together."""
        raise NotImplementedError

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

    def _complete_objective(self, x: Tensor) -> Objective:
        """Return the same, with cells hidden at random where the network is to fill them."""
        objective = self._make_objective(x)
        if not self._takes_missing:
            return objective
        corrupt = functools.partial(hide_after, objective.corrupt)
        # The derivative of a sole layer would be by the mask too, so it is estimated.
        return dataclasses.replace(objective, corrupt=corrupt, missing=True, sole_layer=None)

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
        self._fit_usual_surprise(reference, len(held_out))
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
            "_typical_row": fitted._typical_row,
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


def split_rows(
    n_rows: int, validation_fraction: float, random_state: np.random.RandomState
) -> Split:
    """Return which rows are held out, drawn at random, and which are not."""
    order = random_state.permutation(n_rows)
    n_held_out = count_held_out(n_rows, validation_fraction)
    return Split(order[:n_held_out], order[n_held_out:])

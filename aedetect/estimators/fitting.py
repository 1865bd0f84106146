"""One fit: the network before training, training, and the fitted attributes after it."""

from __future__ import annotations

import copy
import dataclasses
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Generator, Tensor

from aedetect.corruption import Corruption, Hiding
from aedetect.estimators.combinations import (
    check_combinations,
    check_same_network,
    check_shapes,
    check_takes_missing,
)
from aedetect.estimators.defaults import (
    count_held_out,
    resolve_batch_size,
    resolve_max_epochs,
    resolve_max_shift,
    resolve_score,
)
from aedetect.estimators.fingerprint import as_plain, describe, fingerprint
from aedetect.estimators.known_rows import Known
from aedetect.estimators.large_rows import LargeRows, are_large
from aedetect.estimators.memo import Trained, replay
from aedetect.estimators.parameters import WEIGHTS, names_that
from aedetect.estimators.pooled import DiskPools, PooledRows, pooled_rows, scale_rows, spread_of
from aedetect.estimators.progress import FitProgress, History
from aedetect.estimators.row_tables import (
    check_more_training_rows,
    check_training_rows,
    check_unit_interval,
)
from aedetect.estimators.splitting import Split, draw_seed, local_random_state
from aedetect.estimators.tables import Table, check_scaled
from aedetect.model import Columns, NetworkSpec, fit_columns, make_model
from aedetect.networks import Autoencoder, initialize
from aedetect.rows import Reader
from aedetect.scoring import Detector
from aedetect.training import (
    Checkpoint,
    Job,
    Objective,
    Run,
    Shifts,
    gather_members,
    make_generator,
    move,
    place_members,
    seeded_globally,
    train,
)

if TYPE_CHECKING:
    from aedetect.estimators.base import BaseAutoencoder

LAYOUT = 2  # of the vector of parameters; an optimiser's state of another one is of no use
HIDDEN = 0.2  # share of the observed cells that training hides for missing="mask"
LIMITS = np.finfo(np.float32).min, np.finfo(np.float32).max  # of scaled cells on a device


class Schedule(NamedTuple):
    """How long training runs, and how the learning rate changes."""

    max_epochs: int | Literal["auto"]
    learning_rate: str  # key of SCHEDULES


@dataclass(frozen=True)
class Fit:
    """One fit of an estimator. It reads the estimator's parameters and changes nothing of it.

    Parameters
    ----------
    estimator : BaseAutoencoder
    table : Table
        The training rows.
    spec : NetworkSpec
    columns : Columns
    devices : tuple of torch.device
        Where to train, the first one, and which others compute blocks of rows.
    random_state : numpy.random.RandomState
        All draws come from it, in a fixed order.
    goes_on : bool
        Whether training goes on with the weights of the estimator.
    pooled : PooledRows or None
        The training rows, if they do not fit into memory together.
    known : Known or None
        Known rows, if labels are used. Anomalies among them are not in the table.
    """

    estimator: BaseAutoencoder
    table: Table
    spec: NetworkSpec
    columns: Columns
    devices: tuple[torch.device, ...]
    random_state: np.random.RandomState
    goes_on: bool
    pooled: PooledRows | None
    known: Known | None

    @classmethod
    def begin(
        cls,
        estimator: BaseAutoencoder,
        X: ArrayLike,
        y: object,
        devices: tuple[torch.device, ...],
        *,
        goes_on: bool,
    ) -> Self:
        """Validate X and the parameters; on a fresh fit, fit the scaling of the columns."""
        if goes_on:
            table = check_more_training_rows(estimator, X)
        else:
            table = check_training_rows(estimator, X)
        check_combinations(estimator, table.X.shape[1], table.coding is not None)
        estimator._check_own_parameters()
        if estimator.loss == "bce":
            check_unit_interval(table.X, table.coding)
        known = None
        if estimator.labels == "use":
            table, known = Known.take_from(table, y)
        if goes_on:
            check_same_network(estimator._shaped_by, cls._describe(estimator))
            model = estimator.detector_.model
            spec, columns = model.spec, model.columns
        else:
            columns = fit_columns(table.X, table.coding, estimator.scaling, estimator.loss)
            spec = estimator._make_spec(columns.n_features, columns.width)
        if estimator.random_state is None and estimator._memo is not None:
            random_state = estimator._memo.random_state(estimator, table.X)
        else:
            random_state = local_random_state(estimator.random_state)
        pooled = pooled_rows(table.X, columns.width, spec.n_members)
        return cls(estimator, table, spec, columns, devices, random_state, goes_on, pooled, known)

    @property
    def device(self) -> torch.device:
        """Where the network is trained."""
        return self.devices[0]

    @staticmethod
    def _describe(estimator: BaseAutoencoder) -> dict[str, str]:
        return describe(estimator, names_that({WEIGHTS}))

    def naming_rows(self) -> AbstractContextManager[None]:
        """Let errors about the rows of the table name their numbers in X."""
        return nullcontext() if self.known is None else self.known.naming_rows()

    @property
    def history_before(self) -> History | None:
        """The history that this fit goes on with."""
        return self.estimator.history_ if self.goes_on else None

    def open_checkpoint(self) -> Checkpoint | None:
        """Return the checkpoint; draws go on as in the fit that it belongs to."""
        if self.estimator.checkpoint is None:
            return None
        draws = self.random_state.get_state(legacy=False)
        start = as_plain({"draws": draws, "history": self.history_before})
        identity = fingerprint(self.estimator, self.table.X, self.columns, self.device)
        identity |= self.pooled.describe() if self.pooled else {}
        exchange = self.estimator._exchange
        if exchange is None:
            checkpoint = Checkpoint(self.estimator.checkpoint, identity, start)
        else:
            identity["shards"] = str(exchange.n_shards)
            writes = exchange.rank == 0
            checkpoint = Checkpoint(self.estimator.checkpoint, identity, start, writes=writes)
            exchange.wait()  # until all have read it
        self.random_state.set_state(checkpoint.start["draws"])
        return checkpoint

    def start_network(self) -> Autoencoder:
        """Return the network before training, on the CPU."""
        is_own = self.spec.kind == "own"
        seed = None if is_own else draw_seed(self.random_state)
        if self.goes_on:  # the draw is made all the same: equal rows are held out then
            return copy.deepcopy(self.estimator.detector_.model.network)
        if seed is None:
            network = self.spec.build(self.estimator.network)  # type: ignore[arg-type]
        else:
            network = self.spec.build_shapes().to_empty(device="cpu")
            initialize(network, make_generator(seed, torch.device("cpu")))
        check_shapes(network, self.spec.n_features)
        if self.spec.takes_missing:
            check_takes_missing(network, self.spec.n_features)
        return network

    def split(self, validation_fraction: float) -> Split:
        """Return which rows are held out, drawn at random, and which are not."""
        if self.pooled:
            return self.pooled.split(validation_fraction, self.random_state)
        n_rows = len(self.table.X)
        order = self.random_state.permutation(n_rows)
        n_held_out = count_held_out(n_rows, validation_fraction)
        return Split(order[:n_held_out], order[n_held_out:])

    def train(
        self,
        network: Autoencoder,
        split: Split,
        schedule: Schedule,
        *,
        history_before: History | None,
        checkpoint: Checkpoint | None,
        keeps_state: bool,
    ) -> tuple[dict[str, Any], Run]:
        """Train ``network`` in place; return the fitted attributes and the end of training."""
        estimator, X = self.estimator, self.table.given
        seed = draw_seed(self.random_state)
        split = self._without_anomalies(split)
        job, corruption = self._make_job(network, split, schedule, seed)
        trained = self._recall(job, may_recall=checkpoint is None and not keeps_state)
        context = estimator._init_callback_context(max_subtasks=job.max_epochs)
        context.call_on_fit_task_begin(estimator=estimator, X=X)

        def attributes(network: Autoencoder, history: History) -> dict[str, Any]:
            return self._attributes(network, split, history, corruption)

        def snapshot(history: History) -> dict[str, Any]:
            return attributes(copy.deepcopy(network), history)

        with (
            self._seeded_globally(seed) as global_generators,
            FitProgress(
                estimator, context, X, job.max_epochs, snapshot, history_before
            ) as progress,
        ):
            if trained is not None:
                run = replay(trained, network, progress)
            else:
                run = train(
                    **vars(job),
                    precision=estimator.precision,
                    compile=estimator.compile,
                    watcher=progress,
                    global_generators=global_generators,
                    continuation=self._continuation(),
                    checkpoint=checkpoint,
                    exchange=estimator._exchange,
                )
            # Inside, where the global generators are those that the network draws from.
            continuation = self._kept(run) if keeps_state else None
        del job  # its rows make room for those that the score is fitted to
        fitted = {**attributes(network, progress.history), "_continuation": continuation}
        context.call_on_fit_task_end(estimator=estimator, X=X, reconstruction_attributes=fitted)
        return fitted, run

    def _make_job(
        self, network: Autoencoder, split: Split, schedule: Schedule, seed: int
    ) -> tuple[Job, Corruption | None]:
        """Return the training of the network, and the noise in it."""
        estimator, shape = self.estimator, self.spec.image_shape
        x_val, x_train = self._scaled(split)
        n_rows = len(x_train)
        batch_size = resolve_batch_size(estimator.batch_size, n_rows, shape)
        max_epochs = resolve_max_epochs(schedule.max_epochs, n_rows, batch_size, shape)
        if isinstance(x_train, DiskPools) and schedule.max_epochs == "auto":
            max_epochs = max(max_epochs, x_train.plan.n_pools)  # every row is seen
        corruption = self._corruption(x_train)
        network.to(self.device)
        # Layers of a user's own may draw from global generators, of which each device has one.
        if isinstance(estimator.device, list | tuple) and self.spec.kind != "own":
            place_members(network, self.devices)
        job = Job(
            network,
            self._objective(corruption),
            x_train,
            x_val,
            make_generator(seed, self.device),
            optimizer=estimator.optimizer,
            learning_rate=estimator.learning_rate,
            weight_decay=estimator.weight_decay,
            schedule=schedule.learning_rate,
            batch_size=batch_size,
            max_epochs=max_epochs,
            patience=estimator.patience,
            shifts=self._shifts(),
        )
        return job, corruption

    def _recall(self, job: Job, *, may_recall: bool) -> Trained | None:
        """Return the network that was trained ahead for this fit, if one was."""
        estimator = self.estimator
        if estimator._memo is None:
            return None
        is_ahead = (
            may_recall
            and not self.goes_on
            and self.pooled is None
            and self.device.type != "mps"  # on which no networks were trained side by side
            and estimator.precision == "float32"
            and not estimator.compile
            and not getattr(estimator, "_skl_callbacks", None)  # they may end training
        )
        return estimator._memo.recall(job if is_ahead else None)

    def _without_anomalies(self, split: Split) -> Split:
        """Return the split without the rows that ``contamination`` takes for anomalies."""
        share = self.estimator.contamination
        if share == "auto" or share == 0:
            return split
        if self.pooled:
            return self.pooled.without_anomalies(split, share, self.columns, self._tamed)
        order = np.concatenate(split)
        blocks = spread_of(self.table.X, order, self.columns, self._tamed)
        spread = np.concatenate(list(blocks))[order]
        n_kept = max(2, len(order) - round(share * len(order)))
        kept = np.sort(np.argsort(spread, kind="stable")[:n_kept])
        n_held_out = int((kept < len(split.held_out)).sum())
        if len(kept) - n_held_out < 2:  # the network needs two rows
            n_held_out = len(kept) - 2
        return Split(order[kept[:n_held_out]], order[kept[n_held_out:]])

    def _scaled(self, split: Split) -> tuple[Tensor, Tensor | DiskPools | LargeRows]:
        """Return the scaled rows of both parts, on the device; wild cells are tamed."""
        if self.pooled:
            return self.pooled.scaled(split, self.columns, self._tamed, self.device)
        x_val = self._scale(split.held_out)
        if self._are_large:
            return x_val, LargeRows(self.columns, self.table.X, split.fitted, self._tamed)
        return x_val, self._scale(split.fitted)

    @property
    def _are_large(self) -> bool:
        """Whether the rows are in memory, and scaled rows should not be there too."""
        is_array = not isinstance(self.table.X, Reader) and self.estimator._memo is None
        large = are_large(len(self.table.X), self.columns.width)
        return is_array and self.device.type == "cpu" and large

    def _scale(self, rows: NDArray[np.intp]) -> Tensor:
        """Return scaled rows on the device."""
        x = scale_rows(self.columns, self.table.X, rows, self._tamed)
        return move(torch.from_numpy(check_scaled(x, rows, self.columns.sources)), self.device)

    @cached_property
    def _tamed(self) -> NDArray[np.bool_]:
        """The columns in which wild cells are tamed."""
        return self.columns.tamed_columns(self.table.X)

    def _shifts(self) -> Shifts | None:
        """Return the shifts of training images, None for tables and images that stay."""
        shape, scaling = self.spec.image_shape, self.columns.scaling
        max_shift = resolve_max_shift(self.estimator.max_shift, shape, scaling.scale)
        if shape is None or not max_shift:
            return None
        centre, unit = scaling.location.mean(), scaling.scale.mean()
        limits = np.clip(scaling[2:], *LIMITS)
        numbers = (scaling.location - centre) / unit, scaling.scale / unit, *limits
        return Shifts(max_shift, shape, *(array.astype(np.float32) for array in numbers))

    def _corruption(self, x_train: Tensor | DiskPools | LargeRows) -> Corruption | None:
        """Return the noise of training, of which one kind depends on the bounds of the rows."""
        if not isinstance(x_train, Tensor):
            needs_bounds = getattr(self.estimator, "noise", None) == "salt_and_pepper"
            empty = torch.zeros(1, self.columns.width)
            x_train = x_train.bounds() if needs_bounds else empty
        return self.estimator._make_corruption(x_train, self.columns.blocks)

    def _objective(self, corruption: Corruption | None) -> Objective:
        blocks = self.columns.blocks
        objective = self.estimator._make_objective(corruption)
        objective = dataclasses.replace(objective, blocks=blocks)
        if not self.spec.takes_missing:
            return objective
        # The exact penalty of a sole layer would be by the mask too, so it is estimated.
        hiding = Hiding(corruption, HIDDEN, blocks)
        return dataclasses.replace(objective, corrupt=hiding, missing=True, sole_layer=None)

    def _seeded_globally(self, seed: int) -> AbstractContextManager[list[Generator]]:
        """Seed PyTorch's global generators where layers of a user's own may draw from them."""
        return seeded_globally(seed, self.device) if self.spec.kind == "own" else nullcontext([])

    def _attributes(
        self,
        network: Autoencoder,
        split: Split,
        history: History,
        corruption: Corruption | None,
    ) -> dict[str, Any]:
        """Return all fitted attributes as if training had ended with this network."""
        estimator = self.estimator
        gather_members(network, self.device)
        if self.device.type == "mps":  # has no float64, which scores are summed in
            network.cpu()
        model = make_model(
            self.spec,
            network,
            self.columns,
            estimator.loss,
            estimator._prior_weight,
            also=self.devices[1:],
        )
        contamination = estimator.contamination
        detector = Detector.fit(
            model,
            self.table.X,
            np.concatenate(split),
            len(split.held_out),
            score=resolve_score(
                estimator.anomaly_score, self.spec.image_shape, estimator.contamination
            ),
            contamination="auto" if self.pooled else contamination,
            labels=None if self.known is None else self.known.labels,
        )
        if self.pooled:
            detector = self.pooled.with_threshold(detector, contamination)
        network.cpu()  # of which the model has a copy where it computes
        names = self.table.feature_names
        return {
            "detector_": detector,
            "history_": history,
            "n_iter_": len(history["loss"]),
            "n_features_in_": self.columns.n_features,
            **({} if names is None else {"feature_names_in_": names}),
            "_column_numbers": self.table.column_numbers,
            "_shaped_by": self._describe(estimator),
            "_corruption": corruption,
            "_continuation": None,
        }

    # The states of optimiser and generators, which a later fit may go on with.

    def _kept(self, run: Run) -> dict[str, Any]:
        state = {name: tensor.numpy() for name, tensor in run.continuation().items()}
        return {"trained_by": self._trained_by(), "state": state}

    def _continuation(self) -> dict[str, Tensor] | None:
        """Return the states to go on with, unless another optimiser or device made them."""
        kept = self.estimator._continuation if self.goes_on else None
        if kept is None or kept["trained_by"] != self._trained_by():
            return None
        # Copies: a training that fails leaves the arrays as they were.
        return {name: torch.tensor(array) for name, array in kept["state"].items()}

    def _trained_by(self) -> list[Any]:
        estimator = self.estimator
        kind = [estimator.optimizer, self.device.type, estimator.precision, estimator.compile]
        return [*kind, LAYOUT]

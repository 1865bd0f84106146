"""A trained network with all that turns rows into its input and its output into rows."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aedetect.blocks import Blocks
from aedetect.losses import FEATURE_ERRORS
from aedetect.model.columns import Columns
from aedetect.model.inference import Places, align, by_turns, device_blocks, infer
from aedetect.model.scaling import MAPPED_VALUES, row_blocks
from aedetect.model.spec import NetworkSpec
from aedetect.model.stored import require, require_keys, require_number
from aedetect.model.view import View
from aedetect.networks import Autoencoder, MemberLoop
from aedetect.places import PlaceError

FloatArray = NDArray[np.float64]
Function = Callable[[View], Tensor]  # returns one entry a row, (B, ...)
ENTRIES = {"spec", "weights", "columns", "loss", "beta"}
SENT = 2**25  # values of rows that are sent to a GPU at a time


@dataclass(frozen=True, eq=False)
class Model:
    """A trained network, its spec, the scaling and coding of the columns, and the loss.

    Parameters
    ----------
    spec : NetworkSpec
        Builds the network again.
    network : Autoencoder
        Trained, in evaluation mode, on any device.
    columns : Columns
        Of X, and what stands for them in the network's rows.
    loss : str
        Key of ``FEATURE_ERRORS``: the loss of numbers. With ``"bce"`` the decoder returns logits.
    beta : float, default=1.0
        Weight of the divergence from the prior in the evidence lower bound.
    place : torch.device or None, default=None
        Where rows are computed; None is where the network is. Elsewhere a copy of it is used.
    also : tuple of torch.device, default=()
        Other GPUs, which compute blocks of rows by turns with that one.
    """

    spec: NetworkSpec
    network: Autoencoder
    columns: Columns
    loss: str
    beta: float = 1.0
    place: torch.device | None = None
    also: tuple[torch.device, ...] = ()

    @property
    def takes_missing(self) -> bool:
        """Whether rows may hold NaN."""
        return self.spec.takes_missing

    @property
    def device(self) -> torch.device:
        """Where rows are computed."""
        return self.place or self._home

    @property
    def _home(self) -> torch.device:
        """Where the network is."""
        return torch.device("cpu") if self._weight is None else self._weight.device

    @cached_property
    def _weight(self) -> Tensor | None:
        """The first weight: to look for it takes as long as a small layer."""
        return next(self.network.parameters(), None)

    @property
    def placed_network(self) -> Autoencoder:
        """The network on the device that computes; a copy follows changes of the weights."""
        if self.place is None or self.place == self._home:
            return self.network
        tensors = itertools.chain(self.network.parameters(), self.network.buffers())
        version = tuple((tensor.data_ptr(), tensor._version) for tensor in tensors)
        if version not in self._copies:
            self._copies.clear()
            self._copies[version] = _copied(self.network, self.place)
        return self._copies[version]

    def computing_on(self, place: torch.device | None, *also: torch.device) -> Self:
        """Return the model with its network where it is, and rows computed on devices."""
        return dataclasses.replace(self, place=place, also=also)

    def to(self, device: torch.device, *also: torch.device) -> Self:
        """Return the model with its network on a device, where rows are computed from here."""
        if device == self._home:
            return self.computing_on(None, *also)
        if device.type == "mps":
            raise ValueError(
                "device='mps' has no float64, in which scores are summed. Use 'cpu', which scores"
                " what was trained on MPS."
            )
        network = _copied(self.network, device)
        return dataclasses.replace(self, network=network, place=None, also=also)

    @cached_property
    def latent_dim(self) -> int:
        """The width of one member's code."""
        return self.shapes().codes.shape[2]

    def shapes(self) -> View:
        """Return a view of one row whose results have shapes and take no memory.

        It is on PyTorch's ``meta`` device. A network of the user's own, which may hold tensors that
        cannot be moved there, is evaluated.
        """
        is_own = self.spec.kind == "own"
        network = self.network if is_own else self.spec.build_shapes().eval()
        model = dataclasses.replace(self, network=network, place=None)
        return View(model, torch.zeros(1, self.spec.n_features, device=model.device))

    @property
    def user_network(self) -> Autoencoder:
        """The network as a user sees it: without the dimension of members where there is one."""
        if isinstance(self.network, MemberLoop) and self.spec.n_members == 1:
            return cast(Autoencoder, self.network.members[0])
        return self.network

    @property
    def blocks(self) -> Blocks | None:
        """The entries of the network's rows that stand for categories."""
        return self.columns.blocks

    def link(self, decoded: Tensor) -> Tensor:
        """Return scaled rows for the decoder's output: the sigmoid or softmax of logits."""
        if self.blocks is None:
            return torch.sigmoid(decoded) if self.loss == "bce" else decoded
        numbers, logits = decoded.tensor_split([self.blocks.n_numbers], dim=-1)
        numbers = torch.sigmoid(numbers) if self.loss == "bce" else numbers
        return torch.cat([numbers, self.blocks.rows_of(logits)], dim=-1)

    def scale(self, X: NDArray) -> NDArray[np.float32]:
        """Return rows as the network sees them."""
        return self.columns.apply(X)

    def map(self, function: Function, X: NDArray, name: str | None = None) -> NDArray:
        """Return a function of rows in the units of X, a block at a time to bound the memory.

        Parameters
        ----------
        function : callable
            Maps a View of B rows to a tensor ``(B, ...)``. Each entry depends on its row alone.
        X : ndarray of shape (n_rows, n_features)
        name : str or None, default=None
            Stands for the function among those of this model: its places in a tile are searched
            once. None searches them at every call.

        Returns
        -------
        values : ndarray of shape (n_rows, ...)
        """
        if self.device.type == "cpu":
            blocks = row_blocks(*X.shape, n_values=MAPPED_VALUES)
            parts = [self.map_scaled(function, self.scale(X[block]), name) for block in blocks]
        else:
            parts = self._map_on_devices(function, X)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _map_on_devices(self, function: Function, X: NDArray) -> list[NDArray]:
        """Return a function of blocks of rows, each computed on one of the devices."""
        models = [self, *self._twins]
        blocks = device_blocks(len(X), self.columns.width, n_values=SENT, n_devices=len(models))
        tables = [X[block] for block in blocks]
        return by_turns([partial(model._map_on_device, function) for model in models], tables)

    @cached_property
    def _twins(self) -> list[Self]:
        """The model on each of the other devices."""
        return [dataclasses.replace(self, place=device, also=()) for device in self.also]

    def _map_on_device(self, function: Function, X: NDArray) -> NDArray:
        """Return a function of rows, which are scaled on the device where they can be."""
        columns = self.columns
        if columns.coding is not None:
            return self.map_scaled(function, self.scale(X))
        return infer(
            lambda rows: function(View(self, columns.apply_on_device(rows))), X, device=self.device
        )

    def map_scaled(
        self, function: Function, x: NDArray[np.float32], name: str | None = None
    ) -> NDArray:
        """Return a function of rows that are scaled already, as :meth:`map` does."""
        return self._infer(lambda batch: function(View(self, batch)), x, name)

    def encode(self, X: NDArray) -> NDArray[np.float32]:
        """Return the codes of all members side by side, ``(n_rows, n_members * latent_dim)``."""
        return self.map(lambda view: view.codes_side_by_side, X, "codes")

    def decode(self, Z: NDArray[np.float32]) -> FloatArray:
        """Return the mean of the members' rows for codes, in the units of X."""
        network = self.placed_network

        def decoded(z: Tensor) -> Tensor:  # (B, M * L)
            parts = z.unflatten(1, (self.spec.n_members, -1)).movedim(1, 0)
            return self.link(network.decode(parts).mean(dim=0))

        return self.columns.invert(self._infer(decoded, Z, "decoded"))

    def decode_by_turns(self, Z: NDArray[np.float32]) -> FloatArray:
        """Return one member's rows for each code of width ``latent_dim``, the members in turn.

        The mean of all members' rows for one code would be a blur.
        """
        n_members, network = self.spec.n_members, self.placed_network
        decoded = self._infer(
            lambda z: self.link(network.decode(z[None])).movedim(0, 1), Z, "decoded by members"
        )
        turns = np.arange(len(Z)) % n_members
        return self.columns.invert(decoded[np.arange(len(Z)), turns])

    def reconstruct(self, X: NDArray) -> FloatArray:
        """Return the mean reconstruction of rows, in the units of X."""
        restored = self.map(lambda view: view.x_hat, X, "restored")
        return self.columns.invert(restored)

    def fill(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return scaled rows with their reconstruction in place of missing cells."""
        if not self.takes_missing:
            return x
        return self.map_scaled(lambda view: view.filled.x, x, "filled")

    def _infer(
        self, function: Callable[[Tensor], Tensor], x: NDArray[np.float32], name: str | None
    ) -> NDArray:
        # A network of the user's own may keep something in its modules while it is evaluated, and
        # need any amount of memory for a row.
        is_own = self.spec.kind == "own"
        return infer(
            function,
            x,
            device=self.device,
            name=name,
            known=self._places,
            n_threads=1 if is_own else None,
            large=not is_own,
        )

    @cached_property
    def _copies(self) -> dict[tuple, Autoencoder]:
        """The network elsewhere, by the version of the weights that it has."""
        return {}

    @cached_property
    def _places(self) -> dict[tuple[str, tuple[int, int]], Places]:
        return {}

    # State.

    def to_state(self) -> dict[str, Any]:
        """Return the model as NumPy arrays and plain Python."""
        weights = self.network.state_dict()
        return {
            "spec": self.spec.to_dict(),
            "weights": {name: w.cpu().numpy().copy() for name, w in weights.items()},
            "columns": self.columns.to_state(),
            "loss": self.loss,
            "beta": self.beta,
        }

    @classmethod
    def from_state(cls, state: Any, own: Autoencoder | None = None) -> Self:
        """Return the model of a state; everything in it is checked.

        Parameters
        ----------
        state : dict
            The return value of :meth:`to_state`.
        own : Autoencoder or None, default=None
            The user's network, for a spec of that kind.

        Raises
        ------
        StateError
            If values are missing or contradict each other.
        """
        require_keys("the model", state, ENTRIES)
        spec = NetworkSpec.from_dict(state["spec"])
        network = _network_from_state(spec, state["weights"], own)
        require(state["loss"] in FEATURE_ERRORS, f"the loss {state['loss']!r:.80} is unknown")
        require_number("beta", state["beta"], above=-1e-9)
        columns = Columns.from_state(state["columns"], spec.n_features)
        model = cls(spec, network, columns, state["loss"], state["beta"])
        shape = tuple(model.shapes().x_hat.shape)
        require(shape == (1, spec.n_features), f"the network turns a row into shape {shape}")
        return model


def make_model(
    spec: NetworkSpec,
    network: Autoencoder,
    columns: Columns,
    loss: str,
    beta: float = 1.0,
    also: Sequence[torch.device] = (),
) -> Model:
    """Return the model of a newly trained network, which computes where that was."""
    align(network)
    model = Model(spec, network.eval(), columns, loss, beta)
    return model if model.device.type == "cpu" else model.computing_on(model.device, *also)


@torch.inference_mode(False)  # gradients pass through the weights later
def _copied(network: Autoencoder, device: torch.device) -> Autoencoder:
    return copy.deepcopy(network).to(device)


def _network_from_state(spec: NetworkSpec, weights: Any, own: Autoencoder | None) -> Autoencoder:
    """Return the network with its weights; no memory is taken before they are known to fit."""
    _check_size(spec, weights)
    _check_weights(_expected_weights(spec, own), weights)
    tensors = {name: torch.tensor(weight) for name, weight in weights.items()}
    if spec.kind == "own":  # may share weights, or hold tensors that are not among its weights
        network = spec.build(own).cpu()
        network.load_state_dict(tensors)
        align(network)
    else:
        network = spec.build_shapes()
        network.load_state_dict(tensors, assign=True)
    return network.eval()


def _check_size(spec: NetworkSpec, weights: Any) -> None:
    """Refuse more layers or members than there are arrays or numbers: no more are made."""
    require(isinstance(weights, dict), "the weights are not a dictionary")
    require(
        all(isinstance(weight, np.ndarray) for weight in weights.values()),
        "a weight is not an array",
    )
    n_layers, n_arrays = len(spec.hidden_layer_sizes), len(weights)
    # Encoder and decoder have three arrays a hidden layer at least.
    require(
        spec.kind == "own" or 3 * n_layers <= n_arrays,
        f"{n_layers} layers have {n_arrays} arrays of weights",
    )
    n_numbers = sum(weight.size for weight in weights.values())
    require(
        spec.n_members <= max(1, n_numbers), f"{spec.n_members} networks have {n_numbers} weights"
    )


def _expected_weights(spec: NetworkSpec, own: Autoencoder | None) -> Iterator[tuple[str, Tensor]]:
    """Yield the names of all weights, each with a tensor of its shape and dtype."""
    one = dataclasses.replace(spec, n_members=1).build_shapes(own)
    if not isinstance(one, MemberLoop):
        yield from spec.build_shapes().state_dict().items()
        return
    weights = one.members[0].state_dict()
    for number in range(spec.n_members):  # one member is made, however many a file asks for
        for name, tensor in weights.items():
            yield f"members.{number}.{name}", tensor


def _check_weights(expected: Iterable[tuple[str, Tensor]], weights: dict[str, NDArray]) -> None:
    """Refuse weights that are not those of the network, naming the first difference."""
    found = set()
    for name, tensor in expected:
        require(name in weights, f"the network needs a weight {name!r}, which it does not hold")
        weight = torch.from_numpy(weights[name])
        require(
            weight.shape == tensor.shape and weight.dtype == tensor.dtype,
            f"its weight {name!r} is {weight.dtype} of shape {tuple(weight.shape)}, but the network"
            f" needs {tensor.dtype} of shape {tuple(tensor.shape)}",
        )
        require(bool(np.isfinite(weights[name]).all()), f"its weight {name!r} is not finite")
        found.add(name)
    others = [name for name in weights if name not in found]
    require(not others, f"it holds a weight {others[:1]!r:.80}, which the network has not")


def check_finite(values: NDArray, kind: str = "score") -> NDArray:
    """Return results of rows, which must not hold NaN or infinity.

    Raises
    ------
    PlaceError
        If they do; it names the first row.
    """
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))[0])
        raise PlaceError(
            f"The {kind} of row {{row}} is not finite: its values are too far from the training"
            " data for float32. Clip or remove it.",
            row=row,
        )
    return values

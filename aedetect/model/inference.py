"""The one inference loop: the bits of a row do not depend on the other rows.

The last bits of a matrix product depend on its shape, on the threads that share it and on where
its operands begin in memory. So rows are computed in tiles: always of one shape, filled up with
zeros, each on one thread and in memory that PyTorch has aligned. Threads take whole tiles.

The place of a row in its tile still matters. A processor may work on six rows at a time and treat
the last two of 32 otherwise. :func:`find_places` finds the places that agree, on this processor and
for this function, and rows are put only there. Many rows are computed in larger tiles, for which
Python has less to do, if places of such a tile agree with those of a small one.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from threading import Thread
from typing import Any, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from aedetect.training import exact, one_thread

T = TypeVar("T")
Function = Callable[[Tensor], Tensor]
Places = NDArray[np.intp]  # in a tile
Shape = tuple[int, int]
Known = dict[tuple[str, Shape], Places]  # by the name of a function and its tile
Tile = tuple[int, Places]  # how many rows it has, and which of them are used

NARROW = 128  # columns up to which a tile of twice as many rows costs a lone row little
LARGE_ROWS = 512  # of a large tile at most
LARGE_VALUES = 2**18  # of a large tile at most: what a core's cache holds
N_PROBES = 2  # rows that are put in all places
N_LARGE_PROBES = 4  # of a large tile, which rounds alike in all places or in none
DEVICE_VALUES = 2**22  # of a tile on a GPU, which needs much work at a time
DEVICE_ROWS = 2**14  # of it at most: each may be compared with thousands of training rows
SMALLEST = 32  # rows of a tile at least


def infer(
    function: Function,
    x: NDArray[np.float32],
    *,
    device: torch.device | None = None,
    name: str | None = None,
    known: Known | None = None,
    n_threads: int | None = None,
    large: bool = True,
) -> NDArray:
    """Return ``function`` of every row.

    On a CPU the bits of a row do not depend on the other rows or on the number of threads.

    Parameters
    ----------
    function : callable
        Maps a tensor ``(rows, n_columns)`` to one whose rows depend on their own row alone.
    x : ndarray of shape (n_rows, n_columns), float32
    device : torch.device or None, default=None
        Where to compute; None is the CPU.
    name : str or None, default=None
        Stands for the function in ``known``. None has its places searched at every call.
    known : dict or None, default=None
        Keeps the places of functions from one call to the next.
    n_threads : int or None, default=None
        How many tiles are computed at a time on a CPU; None for as many as PyTorch has threads.
        1 if the function must not be called by several threads at once.
    large : bool, default=True
        Whether a CPU computes many rows in large tiles. They need more memory.

    Returns
    -------
    result : ndarray of shape (n_rows, ...)
    """
    if device is not None and device.type != "cpu":
        with exact(device):
            return _infer_on_device(function, x, device)
    with exact(torch.device("cpu")):
        known = {} if known is None else known
        return _infer_on_cpu(function, x, name, known, n_threads, large=large)


def _infer_on_cpu(
    function: Function,
    x: NDArray[np.float32],
    name: str | None,
    known: Known,
    n_threads: int | None,
    *,
    large: bool,
) -> NDArray:
    """Return ``function`` of the rows, in tiles that threads share."""
    size = 2 * SMALLEST if x.shape[1] <= NARROW else SMALLEST
    places = _known_places(function, (size, x.shape[1]), known, name)
    if len(x) <= len(places):  # a lone tile: handing it to another thread would take as long
        with nullcontext() if torch.get_num_threads() == 1 else one_thread():
            return _compute(function, x, [(size, places)])
    tiles = [(size, places)]
    if large:
        tiles = [*_large_tiles(function, x, size, known, name), *tiles]
    n_tiles = -(-len(x) // len(places))
    n_shares = min(n_threads or torch.get_num_threads(), n_tiles)
    bounds = [n_tiles * i // n_shares * len(places) for i in range(n_shares + 1)]
    tasks = [
        _threads().submit(_compute, function, x[first:last], tiles)
        for first, last in itertools.pairwise(bounds)
    ]
    results = [task.result() for task in tasks]
    return results[0] if len(results) == 1 else np.concatenate(results)


@torch.no_grad()
def align(network: nn.Module) -> None:
    """Give every weight memory of its own, in place.

    PyTorch aligns what it allocates. Weights that were views of a vector begin anywhere in it.
    """
    for tensor in itertools.chain(network.parameters(), network.buffers()):
        tensor.data = tensor.data.clone()


class Fitted:
    """Fitted arrays as tensors, which stay on every device that has asked for them.

    Parameters
    ----------
    *arrays : ndarray
    """

    def __init__(self, *arrays: NDArray) -> None:
        self._arrays = arrays
        self._known: dict[torch.device, tuple[Tensor, ...]] = {}

    def on(self, device: torch.device) -> tuple[Tensor, ...]:
        """Return the tensors in memory that PyTorch has aligned, also for gradients."""
        if device not in self._known:
            with torch.inference_mode(False):
                self._known[device] = tuple(torch.tensor(a, device=device) for a in self._arrays)
        return self._known[device]


def device_rows(n_columns: int) -> int:
    """Return the number of rows of a tile on a GPU."""
    return max(SMALLEST, min(DEVICE_ROWS, DEVICE_VALUES // n_columns))


def device_blocks(n_rows: int, n_columns: int, *, n_values: int, n_devices: int) -> list[slice]:
    """Return the slices of rows that are sent to several GPUs, by turns.

    They end where tiles end. So the tile of a row, and its place in there, do not depend on the
    number of GPUs.
    """
    tile = device_rows(n_columns)
    most = max(1, n_values // (n_columns * tile))
    share = -(-n_rows // (tile * n_devices))
    size = tile * max(1, min(most, share))
    return [slice(first, first + size) for first in range(0, n_rows, size)]


def by_turns(functions: Sequence[Callable[[T], NDArray]], tasks: Sequence[T]) -> list[NDArray]:
    """Return the results of tasks, which functions take by turns, each in a thread of its own."""
    n = len(functions)
    if n == 1 or len(tasks) == 1:
        return [functions[0](task) for task in tasks]

    def compute_share(first: int) -> list[NDArray]:
        return [functions[first](task) for task in tasks[first::n]]

    with ThreadPoolExecutor(n, "aedetect-device") as threads:
        shares = [iter(share) for share in threads.map(compute_share, range(n))]
    return [next(shares[number % n]) for number in range(len(tasks))]


def _infer_on_device(function: Function, x: NDArray[np.float32], device: torch.device) -> NDArray:
    """Return ``function`` of the rows, in tiles that the device's memory holds."""
    size = device_rows(x.shape[1])
    while True:
        try:
            return _compute_on_device(function, x, size, device)
        except torch.OutOfMemoryError:
            pass  # the error's traceback holds all results: leave it first
        if size == SMALLEST:
            raise MemoryError(
                f"The memory of {str(device)!r} does not hold {SMALLEST} rows and their"
                " activations. Move the estimator to the CPU: to('cpu')."
            )
        size = max(SMALLEST, size // 2)


@torch.inference_mode()
def _compute_on_device(
    function: Function, x: NDArray[np.float32], size: int, device: torch.device
) -> NDArray:
    """Return ``function`` of the rows, copied to the device and back once."""
    outputs = []
    for part in torch.tensor(x, device=device).split(size):
        tile = part.new_zeros(size, x.shape[1])
        tile[: len(part)] = part
        outputs.append(function(tile)[: len(part)])
    return torch.cat(outputs).cpu().numpy()


@torch.inference_mode()
def _compute(function: Function, x: NDArray[np.float32], tiles: list[Tile]) -> NDArray:
    """Return ``function`` of the rows, in tiles of the first kind and what is left in the next."""
    outputs = []
    done = 0
    for size, places in tiles:
        n_left = len(x) - done
        last = len(x) if size == tiles[-1][0] else done + n_left // len(places) * len(places)
        for first in range(done, last, len(places)):
            part = x[first : first + len(places)]
            tile = torch.zeros(size, x.shape[1])  # a new one: the function may change it
            tile.numpy()[places[: len(part)]] = part
            result = function(tile).numpy()
            outputs.append(result[places[: len(part)]])
        done = last
    return outputs[0] if len(outputs) == 1 else np.concatenate(outputs)


# Which places of a tile agree.


def _large_tiles(
    function: Function, x: NDArray[np.float32], size: int, known: Known, name: str | None
) -> list[Tile]:
    """Return a tile of more than ``size`` rows, if the rows fill one and half its places agree."""
    large = min(LARGE_ROWS, LARGE_VALUES // x.shape[1] // size * size)
    if name is None or large <= size or len(x) < large:  # without a name, each call would try
        return []
    shape = (large, x.shape[1])
    places = _known_places(function, shape, known, name, like=(size, x.shape[1]))
    return [(large, places)] if len(places) >= large // 2 else []


def _known_places(
    function: Function, shape: Shape, known: Known, name: str | None, *, like: Shape | None = None
) -> Places:
    key = (name or "", shape)
    if name is None or key not in known:
        known[key] = _threads().submit(find_places, function, shape, like=like).result()
    return known[key]


@torch.inference_mode()
def find_places(function: Function, shape: Shape, *, like: Shape | None = None) -> Places:
    """Return the places of a tile that give a row the bits that the middle place gives it.

    Copies of a row are put in all places, which must agree in the result and in every intermediate
    result that has one entry a row, or one a member and row.

    Parameters
    ----------
    function : callable
        Maps a tensor of this shape to one of as many rows.
    shape : (int, int)
        Of a tile.
    like : (int, int) or None, default=None
        Of another tile, with whose middle place they must agree instead.

    Returns
    -------
    places : ndarray of int
        In ascending order.
    """
    generator = torch.Generator().manual_seed(0)
    agrees = torch.ones(shape[0], dtype=torch.bool)
    for _ in range(N_PROBES if like is None else N_LARGE_PROBES):
        row = torch.empty(1, shape[1]).normal_(generator=generator)
        other = None if like is None else _Comparison(like[0]).run(function, row).middles
        agrees &= _Comparison(shape[0], other).run(function, row).agrees
    return agrees.nonzero()[:, 0].numpy()


class _Comparison(TorchFunctionMode):
    """Follows the rows of a tile through all that is computed from them.

    Parameters
    ----------
    n_rows : int
        Of the tile.
    expected : list of Tensor or None, default=None
        What the middle row of another tile became on its way. None for this tile's own.
    """

    def __init__(self, n_rows: int, expected: list[Tensor] | None = None) -> None:
        super().__init__()
        self.agrees = torch.ones(n_rows, dtype=torch.bool)
        self.middles: list[Tensor] = []
        self._expected = expected
        self._followed: dict[int, Tensor] = {}  # by id; kept, so that no id is used again

    def run(self, function: Function, row: Tensor) -> Self:
        """Compare what becomes of copies of a row."""
        tile = row.repeat(len(self.agrees), 1)
        self._follow(tile)
        with self:
            result = function(tile)
        self._compare(result)
        if self._expected is not None and len(self._expected) != len(self.middles):
            self.agrees = torch.zeros_like(self.agrees)  # something else was computed
        return self

    def _follow(self, tensor: Tensor) -> None:
        self._followed[id(tensor)] = tensor

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        given = [v for v in tree_leaves((args, kwargs)) if id(v) in self._followed]
        memory = {tensor.untyped_storage().data_ptr() for tensor in given}
        for value in tree_leaves(result) if given else ():
            if isinstance(value, Tensor):
                self._follow(value)
                # A view may be a turned table, whose entries are no rows.
                if value.untyped_storage().data_ptr() not in memory:
                    self._compare(value)
        return result

    def _compare(self, result: Tensor) -> None:
        n_rows = len(self.agrees)
        if result.ndim > 1 and len(result) != n_rows and result.shape[1] == n_rows:
            result = result.movedim(1, 0)  # behind the dimension of members
        if not result.ndim or len(result) != n_rows:
            return
        middle = result[n_rows // 2].clone()  # what comes may be computed in place
        self.middles.append(middle)
        if self._expected is None:
            agrees = _rows_equal(result, middle)
            if agrees.sum() >= n_rows // 16:  # else its entries are no rows, but columns say
                self.agrees = self.agrees & agrees
        elif len(self.middles) <= len(self._expected):  # else the lengths differ at the end
            self.agrees = self.agrees & _rows_equal(result, self._expected[len(self.middles) - 1])


def _rows_equal(rows: Tensor, row: Tensor) -> Tensor:
    """Return which rows have the bits of one; none, if they have another shape."""
    if rows.shape[1:] != row.shape:
        return torch.zeros(len(rows), dtype=torch.bool)
    equal = (rows == row) | (rows.isnan() & row.isnan())
    return equal.reshape(len(rows), -1).all(dim=1)


# Threads that share no product.


@functools.cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), "aedetect", _keep_to_one_thread)


def _keep_to_one_thread() -> None:
    """Let PyTorch compute on the calling thread alone, and on others as before.

    ``set_num_threads`` limits the thread that calls it, and all that begin later. A new thread
    tells what those would have had, and another one gives it back to them.
    """
    before = _in_new_thread(torch.get_num_threads)
    torch.get_num_threads()  # PyTorch sets a thread up at its first call; later that undid a limit
    torch.set_num_threads(1)
    _in_new_thread(functools.partial(torch.set_num_threads, before))


def _in_new_thread(function: Callable[[], T]) -> T:
    results: list[T] = []
    thread = Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    return results[0]


# Threads do not live on in a forked process.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_threads.cache_clear)

"""Engines: each calls a function for many arguments on its workers, and survives their death."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import joblib

from aedetect.extras import import_extra
from aedetect.rows.scoring import in_turn
from aedetect.scale.carried import Carried

Results = Iterator[tuple[int, Any]]

MAX_KILLS = 20  # workers that a task may lose; more are killed by the task itself
AHEAD = 2  # tasks a processor that are sent at a time
WORKERS_OF_DASK = {  # settings for workers that are started here
    # A worker that is killed must be back before its place is given up: imports take seconds.
    "distributed.deploy.lost-worker-timeout": "5 minutes",
    # Dask has a worker return memory at once. To fetch it anew for every tensor takes twice as long
    # as the scores.
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 2**27,
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": 2**25,
}


def compute_on_ray(task: Callable[[int], Any], arguments: Sequence[int]) -> Results:
    """Call ``task`` on the workers of Ray; yield arguments and results as they come."""
    ray = import_extra("ray", "ray", "Ray")
    with _ray_cluster(ray):
        # Tasks, not actors: a task that loses its worker starts again elsewhere, and actors on all
        # processors leave none to anyone else.
        call = ray.remote(num_cpus=1, max_retries=MAX_KILLS)(Carried.__call__)
        carried, waiting = ray.put(Carried(task)), iter(arguments)
        running: dict[Any, int] = {}
        # After an error the few tasks that were sent end by themselves. To cancel one interrupts an
        # import, half of which its worker keeps, or, by force, may end this process: Ray aborts if
        # the task has just ended.
        while True:
            room = AHEAD * int(ray.cluster_resources().get("CPU", 1)) - len(running)
            new = islice(waiting, max(0, room))
            running |= {call.remote(carried, argument): argument for argument in new}
            if not running:
                return
            (done, *_), _ = ray.wait(list(running))
            result = _ray_result(ray, done)
            yield running.pop(done), result


def _ray_result(ray: Any, future: Any) -> Any:
    try:
        return ray.get(future)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None  # the error of the task itself


@contextmanager
def _ray_cluster(ray: Any) -> Iterator[None]:
    """Use the cluster that is connected, or else start one for the block."""
    if ray.is_initialized():
        yield
        return
    ray.init()
    try:
        yield
    finally:
        ray.shutdown()


def compute_on_dask(task: Callable[[int], Any], arguments: Sequence[int]) -> Results:
    """Call ``task`` on the workers of Dask; yield arguments and results as they come."""
    distributed = import_extra("distributed", "dask", "Dask")
    with _dask_client(distributed) as client:
        sender = _DaskSender(distributed, client, task)
        waiting = iter(arguments)
        # With results: to wait for one that was lost with its worker would hold up all others.
        running = distributed.as_completed(with_results=True, raise_errors=False)
        while True:
            room = AHEAD * max(1, sum(client.nthreads().values())) - running.count()
            for argument in islice(waiting, max(0, room)):
                running.add(sender.send(argument))
            if not running.count():
                return
            future, result = next(running)
            if sender.lost_workers(future):
                running.add(sender.send_again(future))
            elif future.status == "finished":
                yield sender.argument_of(future), result
            else:
                future.result()  # raises its error


class _DaskSender:
    """Sends the calls of a function, and knows which future is for which argument."""

    def __init__(self, distributed: Any, client: Any, task: Callable[[int], Any]) -> None:
        self._distributed, self._client = distributed, client
        self._carried = send_to_dask(client, Carried(task))
        self._arguments: dict[str, int] = {}
        self._n_kills: dict[int, int] = {}

    def send(self, argument: int) -> Any:
        future = self._client.submit(Carried.__call__, self._carried, argument, pure=False)
        self._arguments[future.key] = argument
        return future

    def argument_of(self, future: Any) -> int:
        return self._arguments[future.key]

    def lost_workers(self, future: Any) -> bool:
        """Return whether Dask gave a call up because its workers died, which may be bad luck."""
        if future.status != "error":
            return False
        killed = isinstance(future.exception(), self._distributed.KilledWorker)
        return killed and self._n_kills.get(self.argument_of(future), 0) < MAX_KILLS

    def send_again(self, future: Any) -> Any:
        argument = self._arguments.pop(future.key)
        self._n_kills[argument] = self._n_kills.get(argument, 0) + 1
        if self._carried.status == "error":
            self._carried.retry()
        return self.send(argument)


def send_to_dask(client: Any, value: Any) -> Any:
    """Return the future of a value that outlives the worker that holds it.

    The value is the result of a task, which Dask repeats if it is lost. A value that
    ``client.scatter`` sends to a worker is lost with it.
    """
    dask = import_extra("dask", "dask", "Dask")
    # Dask warns of large arguments, as each task might have its own. This one is sent once.
    with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TB"}):
        return client.submit(_itself, value, pure=False)


def _itself(value: Any) -> Any:
    return value


@contextmanager
def _dask_client(distributed: Any) -> Iterator[Any]:
    """Yield the current client, or else one whose workers are started for the block."""
    try:
        current = distributed.get_client()
    except ValueError:
        current = None
    if current is not None:
        yield current
        return
    n_workers = joblib.cpu_count()
    dask = import_extra("dask", "dask", "Dask")
    with (
        dask.config.set(WORKERS_OF_DASK),
        distributed.Client(n_workers=n_workers, threads_per_worker=1) as client,
    ):
        yield client


ENGINES = {"local": in_turn, "ray": compute_on_ray, "dask": compute_on_dask}

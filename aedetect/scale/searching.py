"""Searches whose fits run on the workers of an engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import joblib

from aedetect.extras import import_extra
from aedetect.scale.engines import send_to_dask


@contextmanager
def parallel_on(engine: Literal["ray", "dask"], *, n_jobs: int = -1) -> Iterator[None]:
    """Run everything in the block that takes ``n_jobs`` on the workers of an engine.

    scikit-learn's searches, those of :mod:`aedetect.model_selection`, ``cross_val_score`` and all
    else that joblib runs. If a worker is killed, its fits are repeated by another one: joblib's
    own processes end the search then, and so does Ray with its default settings.

    Parameters
    ----------
    engine : {"ray", "dask"}
        ``"ray"`` uses the cluster that ``ray.init`` has connected to, or starts workers on this
        machine. ``"dask"`` uses that of the current ``Client``.
    n_jobs : int, default=-1
        Workers where a search has ``n_jobs=None``; -1 takes all.

    Raises
    ------
    ImportError
        If the engine is not installed.
    ValueError
        If ``engine`` is another name, or Dask has no client.

    Examples
    --------
    >>> from aedetect import DenoisingAutoencoder, datasets, scale
    >>> from aedetect.model_selection import GridSearch
    >>> X, y = datasets.load_digits()
    >>> labels = (y == 3) * 2 - 1
    >>> search = GridSearch(DenoisingAutoencoder(), {"noise_level": [0.2, 0.5]}, scoring="roc_auc")
    >>> with scale.parallel_on("ray"):  # doctest: +SKIP
    ...     search.fit(X, labels)
    """
    with joblib.parallel_config(**_settings(engine), n_jobs=n_jobs):
        yield


def _settings(engine: str) -> dict[str, Any]:
    """Return the arguments of joblib for an engine."""
    if engine == "ray":
        import_extra("ray.util.joblib", "ray", "Ray").register_ray()
        # Ray neither restarts a worker nor repeats its work by itself.
        survives = {"max_restarts": -1, "max_task_retries": -1}
        return {"backend": "ray", "ray_remote_args": survives}
    if engine == "dask":
        distributed = import_extra("distributed", "dask", "Dask")
        return {"backend": "dask", "client": _Client(distributed.get_client())}
    raise ValueError(f"engine={engine!r} must be 'ray' or 'dask'.")


class _Client:
    """A client of Dask that scatters nothing: the tables of joblib outlive their workers."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def scatter(self, value: Any, **options: Any) -> Any:
        return send_to_dask(self._client, value)

"""The transformer half of the estimators: rows to codes and back, and the state that is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeGuard

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags, check_array
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from aedetect.estimators.checks import (
    as_finite,
    check_finite,
    check_infinity,
    check_missing,
    check_unit_interval,
    is_finite,
)
from aedetect.estimators.containers import explain_refusal, unpack
from aedetect.estimators.frames import column_numbers, in_frame, names_of
from aedetect.estimators.places import names_places
from aedetect.estimators.scaling import Scaling, row_blocks
from aedetect.estimators.state import from_plain, to_plain
from aedetect.networks import Autoencoder, members_of, summarize
from aedetect.training import infer


class NetworkTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Transform rows with a trained network; subclasses make and train it."""

    network_: Autoencoder
    latent_dim_: int
    n_features_in_: int
    _column_numbers: list[int] | None  # names of columns that are whole numbers
    missing: str
    _loss: str
    _architecture: Autoencoder | None  # the user's own, if it is
    _scaling: Scaling
    _blueprint: dict[str, Any] | None  # None for a network of the user's own
    _score_name: str
    _takes_missing: bool

    @names_places
    def transform(self, X: ArrayLike) -> NDArray[np.floating]:
        """Return the codes of ``X``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

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
        codes = self._infer("code", self.network_.encode, X)
        return check_finite(codes, "code").astype(X.dtype, copy=False)

    def inverse_transform(self, Z: ArrayLike) -> Any:
        """Return the rows that codes stand for.

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
        codes = Z
        Z = check_array(unpack(Z), dtype=[np.float64, np.float32], input_name="Z")
        if Z.shape[1] != self.latent_dim_:
            raise ValueError(
                f"Z has {Z.shape[1]} columns, but the codes of this {type(self).__name__} have"
                f" {self.latent_dim_}. Pass what transform returned."
            )
        decoded = self._infer_scaled(
            "decoded", self.network_.decode, Z.astype(np.float32, copy=False)
        )
        X_hat = as_finite(self._to_units(decoded), Z.dtype)
        return in_frame(X_hat, codes, names_of(None, self), self, like_X=False)

    @names_places
    def reconstruct(self, X: ArrayLike) -> Any:
        """Return the network's version of every row.

        It is ``inverse_transform(transform(X))`` in one pass, but for ``upsample="unpool"`` without
        a VAE, whose decoder also learns from the encoder where the maxima were.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

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
        X_hat = as_finite(self._to_units(self._infer("restored", self.network_, rows)), rows.dtype)
        return in_frame(X_hat, X, names_of(X, self), self, like_X=False)

    def summary(self) -> pd.DataFrame:
        """Return a table of the fitted network, or of one of several, which are alike.

        Returns
        -------
        table : pandas.DataFrame
            One row a layer: ``layer``, ``output_shape`` (without the batch), ``parameters``
            and ``trained`` (``parameters`` less the running statistics of batch normalisation).
        """
        check_is_fitted(self)
        return summarize(members_of(self.network_)[0], self.n_features_in_)

    # Inference.

    @property
    def _device(self) -> torch.device:
        return next((p.device for p in self.network_.parameters()), torch.device("cpu"))

    def _infer(self, name: str | None, function: Callable[[Tensor], Tensor], X: NDArray) -> NDArray:
        """Return ``function`` of the scaled rows, a block at a time to bound the memory.

        Its ``name`` stands for one function of a network, whatever it is called with.
        """
        parts = [
            self._infer_scaled(name, function, self._scaling.apply(X[block]))
            for block in row_blocks(*X.shape)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _infer_scaled(
        self, name: str | None, function: Callable[[Tensor], Tensor], x: NDArray[np.float32]
    ) -> NDArray:
        # A network of the user's own may keep something in its modules while it is evaluated.
        n_threads = 1 if self._blueprint is None else None
        return infer(function, x, self.network_, name=name, n_threads=n_threads)

    def _to_units(self, decoded: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return decoded rows in the units of X; the decoder of ``loss="bce"`` gives logits."""
        return self._scaling.invert(expit(decoded) if self._loss == "bce" else decoded)

    # Validation and state.

    def _check_rows(
        self, X: ArrayLike, *, reset: bool = False, min_rows: int = 1
    ) -> NDArray[np.floating]:
        shape: tuple[int, ...] = getattr(X, "shape", ())
        if len(shape) > 2:
            raise ValueError(
                f"X must be a table of two dimensions, but its shape is {shape}. Give every image"
                f" one row with X.reshape({shape[0]}, -1)."
            )
        X = unpack(X)
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # an overflow is refused below
                checked = validate_data(
                    self,
                    X,
                    reset=reset,
                    dtype=[np.float64, np.float32],
                    ensure_min_samples=min_rows,
                    ensure_all_finite=False,  # ours to refuse, with place and remedy
                )
        except OverflowError as error:
            raise ValueError("X holds a whole number beyond float64. Clip it.") from error
        except (TypeError, ValueError):
            explain_refusal(X)
            raise
        if reset:
            self._column_numbers = column_numbers(X)
        checked = checked.astype(checked.dtype.newbyteorder("="), copy=False)  # frames keep theirs
        if not is_finite(checked):
            check_infinity(checked)
            check_missing(checked, allowed=self._takes_missing, fitting=min_rows > 1)
        return checked

    def _is_checked(self, X: ArrayLike) -> TypeGuard[NDArray[np.floating]]:
        """Return whether the checks would return ``X`` as it is: most of a single row's time."""
        if not isinstance(X, np.ndarray):
            return False
        plain = (
            type(X) is np.ndarray
            and X.dtype in (np.float64, np.float32)
            and X.ndim == 2
            and len(X) > 0
            and X.shape[1] == self.n_features_in_
            and not hasattr(self, "feature_names_in_")
        )
        return plain and is_finite(X)

    def _check_new_rows(self, X: ArrayLike) -> NDArray[np.floating]:
        check_is_fitted(self)
        if not self._is_checked(X):
            X = self._check_rows(X)
        if self._loss == "bce":
            check_unit_interval(X)
        return X

    @property
    def _n_features_out(self) -> int:
        return self.latent_dim_

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "network_")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.input_tags.allow_nan = self.missing == "mask"
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """Return the state as NumPy arrays and plain Python, which any machine can load."""
        state = dict(super().__getstate__())
        if "network_" in state:
            weights = state["network_"].state_dict()
            state["network_"] = {name: w.cpu().numpy().copy() for name, w in weights.items()}
        return to_plain(state)

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = from_plain(state)
        super().__setstate__(state)
        if "network_" in state:
            with torch.device("meta"):
                self.network_ = self._make_network()
            weights = {name: torch.tensor(w) for name, w in state["network_"].items()}
            self.network_.load_state_dict(weights, assign=True)
            self.network_.eval()

"""The denoising autoencoder."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Sequence
from numbers import Real
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils._param_validation import Interval, StrOptions
from torch import Generator, Tensor

from aedetect.corruption import NOISES
from aedetect.estimators.autoencoder import AutoencoderTransformer
from aedetect.estimators.docs import share_parameters
from aedetect.estimators.fitting import draw_seed, local_random_state
from aedetect.estimators.places import names_places
from aedetect.networks import Autoencoder
from aedetect.training import Objective, make_generator


@share_parameters
class DenoisingAutoencoder(AutoencoderTransformer):
    """Autoencoder trained to restore rows from noisy copies of themselves.

    Every batch is corrupted afresh, and the network is trained to return the clean rows, so it
    cannot merely copy its input (Vincent et al., "Extracting and composing robust features with
    denoising autoencoders", ICML 2008). The held-out rows keep one draw of the noise, so that the
    losses of epochs compare. Codes, reconstructions and scores are of the rows as they
    come, without noise.

    {parameters}
    noise : {{"gaussian", "masking", "salt_and_pepper"}}, default="gaussian"
        ``"gaussian"`` adds normal noise (clipped to [0, 1] for ``loss="bce"``), ``"masking"``
        sets values to zero after scaling, ``"salt_and_pepper"`` to the minimum or maximum of their
        column.
    noise_level : float, default=0.5
        Standard deviation of the gaussian noise, in the units that the network sees (after
        ``scaling``); for the other two the share of values that are replaced, at most 1.

    {attributes}

    See Also
    --------
    AutoencoderTransformer : The same without noise.
    VAEDetector : Puts the noise on the code.

    Examples
    --------
    >>> from aedetect import DenoisingAutoencoder, datasets
    >>> X, y = datasets.load_digits()
    >>> detector = DenoisingAutoencoder(noise="masking", noise_level=0.2, random_state=0)
    >>> labels = detector.fit_predict(X[y == 3])  # +1 normal, -1 anomaly
    """

    _parameter_constraints: dict[str, list[Any]] = {
        **AutoencoderTransformer._parameter_constraints,
        "noise": [StrOptions(set(NOISES))],
        "noise_level": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        latent_dim: int | Literal["auto"] = "auto",
        *,
        noise: str = "gaussian",
        noise_level: float = 0.5,
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
        super().__init__(
            latent_dim,
            network=network,
            image_shape=image_shape,
            hidden_layer_sizes=hidden_layer_sizes,
            activation=activation,
            latent_activation=latent_activation,
            batch_norm=batch_norm,
            dropout=dropout,
            tied_weights=tied_weights,
            downsample=downsample,
            upsample=upsample,
            latent=latent,
            loss=loss,
            l1_activity=l1_activity,
            contractive=contractive,
            optimizer=optimizer,
            learning_rate=learning_rate,
            schedule=schedule,
            weight_decay=weight_decay,
            batch_size=batch_size,
            max_epochs=max_epochs,
            validation_fraction=validation_fraction,
            patience=patience,
            scaling=scaling,
            missing=missing,
            anomaly_score=anomaly_score,
            n_members=n_members,
            contamination=contamination,
            random_state=random_state,
            device=device,
            precision=precision,
            compile=compile,
            checkpoint=checkpoint,
            warm_start=warm_start,
            verbose=verbose,
        )
        self.noise = noise
        self.noise_level = noise_level

    def _check_combinations(self) -> None:
        super()._check_combinations()
        if self.noise != "gaussian" and self.noise_level > 1:
            raise ValueError(
                f"noise_level={self.noise_level} is the share of values that noise={self.noise!r}"
                " replaces, so it must be at most 1."
            )

    @names_places
    def corrupt(
        self, X: ArrayLike, random_state: int | np.random.RandomState | None = None
    ) -> NDArray[np.floating]:
        """Return noisy copies of the rows, with the noise that the network was trained against.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        random_state : int, RandomState instance or None, default=None
            Draws the noise; an int gives the same noise every time.

        Returns
        -------
        X_noisy : ndarray of shape (n_samples, n_features)
            In the units and the dtype of ``X``.
        """
        X = self._check_new_rows(X)
        seed = draw_seed(local_random_state(random_state))
        x = torch.from_numpy(self._scaling.apply(X))
        noisy = self._corrupt(x, make_generator(seed, x.device), torch.from_numpy(self._bounds))
        return self._scaling.invert(noisy.numpy()).astype(X.dtype, copy=False)

    def _make_objective(self, x: Tensor) -> Objective:
        low = x.nan_to_num(torch.inf).amin(dim=0)
        high = x.nan_to_num(-torch.inf).amax(dim=0)
        bounds = torch.stack([low, high]).nan_to_num(posinf=0.0, neginf=0.0)  # 0: no cell observed
        self._bounds = bounds.cpu().numpy()  # what corrupt needs of the training rows
        self._noise, self._noise_level = self.noise, self.noise_level
        corrupt = functools.partial(self._corrupt, bounds=bounds)
        return dataclasses.replace(super()._make_objective(x), corrupt=corrupt)

    def _corrupt(self, x: Tensor, generator: Generator, bounds: Tensor) -> Tensor:
        noisy = NOISES[self._noise](x, self._noise_level, bounds.to(x.device), generator)
        if self._takes_missing:  # what is missing stays so
            noisy = noisy.masked_fill(x.isnan(), torch.nan)
        return noisy.clamp_(0, 1) if self._loss == "bce" else noisy

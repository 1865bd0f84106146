"""The variational autoencoder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from numbers import Integral
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.utils import check_scalar
from sklearn.utils.validation import check_is_fitted

from aedetect.corruption import Corruption
from aedetect.estimators.base import BaseAutoencoder
from aedetect.estimators.frames import names_of
from aedetect.estimators.parameters import documented
from aedetect.estimators.splitting import local_random_state
from aedetect.networks import Autoencoder
from aedetect.training import Objective


@documented
class VAEDetector(BaseAutoencoder):
    """Variational autoencoder: scores rows, and draws new ones.

    The encoder gives a Gaussian over codes, which is kept close to the standard normal, and
    training maximises the evidence lower bound (Kingma & Welling, "Auto-Encoding Variational
    Bayes", ICLR 2014). Codes, reconstructions and scores use the mean of that Gaussian, so they are
    deterministic.

    {groups}

    {parameters}

    {attributes}

    See Also
    --------
    AutoencoderTransformer : Autoencoder without a distribution over codes.
    DenoisingAutoencoder : Autoencoder with noise on the row.

    Notes
    -----
    ``loss="bce"`` is a Bernoulli decoder and ``loss="mse"`` a Gaussian one with unit variance on
    the scaled rows, so half of the squared error counts in training. Scores use the whole error, as
    those of the other estimators do. With ``upsample="unpool"`` every value goes to the first of
    its 2x2 pixels, in training too, because a drawn code does not contain positions of maxima.

    References
    ----------
    D. P. Kingma & M. Welling, "Auto-Encoding Variational Bayes", ICLR 2014.

    J. An & S. Cho, "Variational autoencoder based anomaly detection using reconstruction
    probability", Special Lecture on IE, 2015, for ``"reconstruction_probability"``.

    I. Higgins et al., "beta-VAE: learning basic visual concepts with a constrained variational
    framework", ICLR 2017, for ``beta``.

    Examples
    --------
    >>> from aedetect import VAEDetector, datasets
    >>> X, y = datasets.load_digits()
    >>> detector = VAEDetector(latent_dim=4, max_epochs=20, random_state=0).fit(X)
    >>> detector.sample(5, random_state=0).shape
    (5, 64)
    """

    _is_variational = True

    def __init__(
        self,
        latent_dim: int | Literal["auto"] = "auto",
        *,
        network: str | Autoencoder = "dense",
        hidden_layer_sizes: Sequence[int] | Literal["auto"] = "auto",
        max_epochs: int | Literal["auto"] = "auto",
        anomaly_score: str = "auto",
        contamination: float | Literal["auto"] = "auto",
        labels: Literal["ignore", "use"] = "ignore",
        beta: float = 1.0,
        image_shape: tuple[int, int, int] | None = None,
        max_shift: int | Literal["auto"] = "auto",
        scaling: str | None = "auto",
        missing: str = "error",
        categorical_features: str | ArrayLike | None = "from_dtype",
        loss: str = "mse",
        activation: str = "relu",
        batch_norm: bool = False,
        dropout: float = 0.0,
        optimizer: str = "adam",
        learning_rate: float = 1e-3,
        schedule: str = "onecycle",
        batch_size: int | Literal["auto"] = "auto",
        validation_fraction: float = 0.1,
        patience: int = 50,
        random_state: int | np.random.RandomState | None = None,
        n_members: int = 1,
        device: str | torch.device | Sequence[str | torch.device] = "auto",
        verbose: int | bool = False,
        warm_start: bool = False,
        checkpoint: str | os.PathLike | None = None,
        downsample: str = "stride",
        upsample: str = "nearest",
        weight_decay: float = 0.0,
        precision: str = "float32",
        compile: bool = False,
    ) -> None:
        super().__init__(
            latent_dim,
            network=network,
            hidden_layer_sizes=hidden_layer_sizes,
            max_epochs=max_epochs,
            anomaly_score=anomaly_score,
            contamination=contamination,
            labels=labels,
            image_shape=image_shape,
            max_shift=max_shift,
            scaling=scaling,
            missing=missing,
            categorical_features=categorical_features,
            loss=loss,
            activation=activation,
            batch_norm=batch_norm,
            dropout=dropout,
            optimizer=optimizer,
            learning_rate=learning_rate,
            schedule=schedule,
            batch_size=batch_size,
            validation_fraction=validation_fraction,
            patience=patience,
            random_state=random_state,
            n_members=n_members,
            device=device,
            verbose=verbose,
            warm_start=warm_start,
            checkpoint=checkpoint,
            downsample=downsample,
            upsample=upsample,
            weight_decay=weight_decay,
            precision=precision,
            compile=compile,
        )
        self.beta = beta

    @property
    def _prior_weight(self) -> float:  # type: ignore[override]
        return self.beta

    def _make_objective(self, corruption: Corruption | None) -> Objective:
        return Objective(self.loss, corrupt=corruption, beta=self.beta)

    def sample(
        self, n_samples: int = 1, random_state: int | np.random.RandomState | None = None
    ) -> Any:
        """Return new rows, decoded from codes drawn from the standard normal prior.

        Parameters
        ----------
        n_samples : int, default=1
        random_state : int, RandomState instance or None, default=None
            Draws the codes; an int gives equal rows in every call.

        Returns
        -------
        X_new : ndarray or frame of shape (n_samples, n_features), float64
            Means of the decoder, in the units of the training data. With categorical columns, a
            DataFrame with the most probable levels; with ``set_output`` the frame it asks for.
        """
        check_is_fitted(self)
        check_scalar(n_samples, "n_samples", Integral, min_val=1)
        model = self.detector_.model
        shape = (n_samples, model.latent_dim)
        z = local_random_state(random_state).standard_normal(shape).astype(np.float32)
        rows = model.decode_by_turns(z)
        return self._in_units(rows, None, names_of(None, self), like_X=False)

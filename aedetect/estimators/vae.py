"""The variational autoencoder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import check_scalar
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from aedetect.estimators.base import BaseAutoencoder
from aedetect.estimators.docs import share_parameters
from aedetect.estimators.fitting import local_random_state
from aedetect.networks import Autoencoder, VariationalAutoencoder, members_of
from aedetect.scoring import EVIDENCE_SCORES, SCORES, Evidence, Measure
from aedetect.training import Objective


@share_parameters
class VAEDetector(BaseAutoencoder):
    """Variational autoencoder: scores rows, and draws new ones.

    The encoder gives a Gaussian over codes, kept close to the standard normal, and training
    maximises the evidence lower bound (Kingma & Welling, "Auto-Encoding Variational Bayes",
    ICLR 2014). Codes, reconstructions and scores use the mean of that Gaussian, so they are
    deterministic.

    {parameters}
    beta : float, default=1.0
        Weight of the Kullback-Leibler divergence, summed over the code, against the negative
        log-likelihood, summed over the features (Higgins et al., "beta-VAE", ICLR 2017). 1 is the
        evidence lower bound; smaller values restore rows more closely.

    {attributes}

    See Also
    --------
    AutoencoderTransformer : The same without a distribution over codes.
    DenoisingAutoencoder : Puts the noise on the row.

    Notes
    -----
    ``loss="bce"`` is a Bernoulli decoder and ``loss="mse"`` a Gaussian one with unit variance on
    the scaled rows, so half of the squared error counts in training. The score is minus the error
    itself, as for the other estimators. With ``upsample="unpool"`` every value goes to the first of
    its 2x2 pixels, in training too: a code drawn from a distribution has no maxima to go by.

    Examples
    --------
    >>> from aedetect import VAEDetector, datasets
    >>> X, y = datasets.load_digits()
    >>> detector = VAEDetector(latent_dim=4, max_epochs=20, random_state=0).fit(X)
    >>> detector.sample(5, random_state=0).shape
    (5, 64)
    """

    _codes_per_dim = 2  # a mean and a log-variance
    _parameter_constraints: dict[str, list[Any]] = {
        **BaseAutoencoder._parameter_constraints,
        "anomaly_score": [StrOptions({"auto", *SCORES, *EVIDENCE_SCORES})],
        "beta": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        latent_dim: int | Literal["auto"] = "auto",
        *,
        beta: float = 1.0,
        network: str | Autoencoder = "dense",
        image_shape: tuple[int, int, int] | None = None,
        hidden_layer_sizes: Sequence[int] | Literal["auto"] = "auto",
        activation: str = "relu",
        batch_norm: bool = False,
        dropout: float = 0.0,
        downsample: str = "stride",
        upsample: str = "nearest",
        loss: str = "mse",
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
            batch_norm=batch_norm,
            dropout=dropout,
            downsample=downsample,
            upsample=upsample,
            loss=loss,
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
        self.beta = beta

    def sample(
        self, n_samples: int = 1, random_state: int | np.random.RandomState | None = None
    ) -> NDArray[np.floating]:
        """Return new rows, decoded from codes drawn from the standard normal prior.

        Parameters
        ----------
        n_samples : int, default=1
        random_state : int, RandomState instance or None, default=None
            Draws the codes; an int gives the same rows every time.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_features), float64
            Means of the decoder, in the units of the training data.
        """
        check_is_fitted(self)
        check_scalar(n_samples, "n_samples", Integral, min_val=1)
        members = members_of(self.network_)
        shape = (n_samples, self.latent_dim_ // len(members))
        z = local_random_state(random_state).standard_normal(shape).astype(np.float32)
        decoded = [
            self._infer_scaled(f"decoded by {turn}", member.decode, z[turn :: len(members)])
            for turn, member in enumerate(members[:n_samples])
        ]
        # The members take turns: the mean of their answers to one code would be a blur.
        return self._to_units(np.concatenate(decoded))

    def _make_member(self) -> VariationalAutoencoder:
        network = super()._make_member()
        return VariationalAutoencoder(network.encoder, network.decoder)

    def _make_objective(self, x: Tensor) -> Objective:
        return Objective(self.loss, beta=self.beta)

    def _fit_measure(self, reference: NDArray, n_held_out: int) -> Measure:
        if self._score_name in EVIDENCE_SCORES:
            latent_dim = self.latent_dim_ // len(members_of(self.network_))
            return Evidence.of(self._score_name, self._loss, self.beta, latent_dim)
        return super()._fit_measure(reference, n_held_out)

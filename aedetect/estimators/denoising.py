"""The denoising autoencoder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from aedetect.blocks import Blocks
from aedetect.corruption import Corruption
from aedetect.estimators.autoencoder import AutoencoderTransformer
from aedetect.estimators.frames import names_of
from aedetect.estimators.parameters import documented
from aedetect.estimators.row_tables import refuse_rows
from aedetect.estimators.splitting import draw_seed, local_random_state
from aedetect.networks import Autoencoder
from aedetect.places import names_places
from aedetect.training import make_generator


@documented
class DenoisingAutoencoder(AutoencoderTransformer):
    """Autoencoder that is trained to restore rows from noisy copies of them.

    Every batch is corrupted afresh and the network is trained to return the clean rows, so it
    cannot merely copy its input (Vincent et al., "Extracting and composing robust features with
    denoising autoencoders", ICML 2008). Held-out rows keep one draw of the noise, so that the
    losses of epochs compare. Codes, reconstructions and scores are computed without noise.

    {groups}

    {parameters}

    {attributes}

    See Also
    --------
    AutoencoderTransformer : Autoencoder without noise.
    VAEDetector : Autoencoder with noise on the code.

    References
    ----------
    P. Vincent, H. Larochelle, Y. Bengio & P.-A. Manzagol, "Extracting and composing robust features
    with denoising autoencoders", ICML 2008.

    K. Kim, S. Shim, Y. Lim, J. Jeon, J. Choi, B. Kim & A. Yoon, "RaPP: novelty detection with
    reconstruction along projection pathway", ICLR 2020, for the scores ``"sap"`` and ``"nap"``.

    Examples
    --------
    >>> from aedetect import DenoisingAutoencoder, datasets
    >>> X, y = datasets.load_digits()
    >>> detector = DenoisingAutoencoder(noise="masking", noise_level=0.2, random_state=0)
    >>> labels = detector.fit_predict(X[y == 3])  # +1 normal, -1 anomaly
    """

    _adds_noise = True

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
        noise: str = "gaussian",
        noise_level: float = 0.5,
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
        latent: str = "vector",
        latent_activation: str = "identity",
        tied_weights: bool = False,
        l1_activity: float = 0.0,
        contractive: float = 0.0,
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
            latent=latent,
            latent_activation=latent_activation,
            tied_weights=tied_weights,
            l1_activity=l1_activity,
            contractive=contractive,
            weight_decay=weight_decay,
            precision=precision,
            compile=compile,
        )
        self.noise = noise
        self.noise_level = noise_level

    def _check_own_parameters(self) -> None:
        if self.noise != "gaussian" and self.noise_level > 1:
            raise ValueError(
                f"noise_level={self.noise_level} is the share of values that noise={self.noise!r}"
                " replaces, so it must be at most 1."
            )

    def _make_corruption(self, x: Tensor, blocks: Blocks | None) -> Corruption:
        return Corruption.fit(
            x,
            self.noise,
            self.noise_level,
            clamp=self.loss == "bce",
            keeps_missing=self.missing == "mask",
            blocks=blocks,
        )

    @names_places
    def corrupt(self, X: ArrayLike, random_state: int | np.random.RandomState | None = None) -> Any:
        """Return noisy copies of the rows, with the noise that the network was trained against.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        random_state : int, RandomState instance or None, default=None
            Draws the noise; an int gives equal noise in every call.

        Returns
        -------
        X_noisy : ndarray or frame of shape (n_samples, n_features)
            In the units and the dtype of ``X``; a frame as :meth:`reconstruct` returns it.
        """
        refuse_rows(X, "corrupt")
        rows = self._check_new_rows(X)
        assert self._corruption is not None  # fit made it
        seed, columns = draw_seed(local_random_state(random_state)), self.detector_.model.columns
        x = torch.from_numpy(columns.apply(rows))
        noisy = self._corruption(x, make_generator(seed, x.device))
        X_noisy = columns.invert(noisy.numpy()).astype(rows.dtype, copy=False)
        return self._in_units(X_noisy, X, names_of(X, self), like_X=False)

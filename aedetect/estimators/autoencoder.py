"""The plain autoencoder."""

from __future__ import annotations

from aedetect.corruption import Corruption
from aedetect.estimators.base import BaseAutoencoder
from aedetect.estimators.parameters import documented
from aedetect.losses import DERIVATIVES
from aedetect.training import Objective


@documented
class AutoencoderTransformer(BaseAutoencoder):
    """Autoencoder that compresses rows to short codes and flags unusual rows.

    An encoder maps each row to a short code, a decoder maps the code back to a row, and both are
    trained to keep the difference small (Hinton & Salakhutdinov, "Reducing the dimensionality of
    data with neural networks", Science 2006). A row unlike the training rows has unusual
    activations, a large reconstruction error, or a large distance to the training rows.
    ``anomaly_score`` says which of these are measured.

    {groups}

    {parameters}

    {attributes}

    See Also
    --------
    DenoisingAutoencoder : Autoencoder that is trained to remove noise.
    VAEDetector : Autoencoder with a distribution over codes; draws new rows.

    References
    ----------
    G. E. Hinton & R. R. Salakhutdinov, "Reducing the dimensionality of data with neural networks",
    Science, 2006.

    K. Kim, S. Shim, Y. Lim, J. Jeon, J. Choi, B. Kim & A. Yoon, "RaPP: novelty detection with
    reconstruction along projection pathway", ICLR 2020, for the scores ``"sap"`` and ``"nap"``.

    S. Rifai, P. Vincent, X. Muller, X. Glorot & Y. Bengio, "Contractive auto-encoders: explicit
    invariance during feature extraction", ICML 2011, for ``contractive``.

    Examples
    --------
    >>> from aedetect import AutoencoderTransformer, datasets
    >>> X, y = datasets.load_digits()
    >>> detector = AutoencoderTransformer(latent_dim=8, max_epochs=20, random_state=0)
    >>> detector.fit_transform(X).shape
    (1797, 8)
    >>> detector.score_samples(X[:3]).shape
    (3,)
    """

    def _make_objective(self, corruption: Corruption | None) -> Objective:
        return Objective(
            self.loss,
            corrupt=corruption,
            l1_activity=self.l1_activity,
            contractive=self.contractive,
            sole_layer=self.latent_activation if self._encodes_in_one_layer else None,
        )

    @property
    def _encodes_in_one_layer(self) -> bool:
        """Whether the code is one dense layer whose derivative follows from its value."""
        return (
            self.network == "dense"
            and len(self.hidden_layer_sizes) == 0
            and self.latent_activation in DERIVATIVES
        )

"""The table of constructor parameters: group, constraint, default, effect and text of each.

The order is that of the signatures and of the documentation. ``tests/test_parameters.py`` compares
the table with the signatures.
"""

from __future__ import annotations

import inspect
import os
import textwrap
from numbers import Integral, Real
from typing import Any, NamedTuple, TypeVar

import torch
from sklearn.utils._param_validation import Interval, Options, StrOptions

from aedetect.corruption import NOISES
from aedetect.losses import FEATURE_ERRORS
from aedetect.networks import ACTIVATIONS, Autoencoder
from aedetect.scoring import SCORES
from aedetect.training import OPTIMIZERS, PRECISIONS, SCHEDULES

ClassType = TypeVar("ClassType", bound=type)

GROUPS = {
    "main": "set these first",
    "data": "the kind of table",
    "training": "how the network is trained",
    "running": "where and how a fit runs",
    "conv": 'for network="conv" alone',
    "expert": "for experts",
}
WEIGHTS = "weights"  # must be unchanged where training goes on with the weights
TRAINING = "training"  # changes the weights that training ends with
OTHER = "other"  # has no part in the weights


class Parameter(NamedTuple):
    """One constructor parameter.

    ``affects`` is one of ``WEIGHTS``, ``TRAINING`` and ``OTHER``.
    """

    group: str
    constraint: list[Any]
    default: Any
    affects: str
    text: str  # type, default and meaning, as numpydoc has them


def _count() -> Interval:
    return Interval(Integral, 1, None, closed="left")


def _not_negative() -> Interval:
    return Interval(Real, 0, None, closed="left")


ATTRIBUTES = """\
Attributes
----------
network_ : torch.nn.Module
    The trained network: on the CPU after ``fit``, wherever it was trained, and on the device that
    ``to`` moves the estimator to.
offset_ : float
    Rows that score below it are anomalies.
history_ : dict of str to ndarray of shape (n_epochs,)
    ``loss`` and ``val_loss`` (mean over rows of the training loss, summed over features;
    ``val_loss`` is NaN without held-out rows), ``learning_rate`` and ``seconds`` of each epoch.
n_iter_ : int
    Epochs trained.
latent_dim_ : int
    Width of the code; of all members' codes together, where there are several.
n_features_in_ : int
    Features seen in ``fit``.
feature_names_in_ : ndarray of shape (n_features,)
    Their names, where X was a DataFrame with string columns."""

PARAMETERS: dict[str, Parameter] = {
    "latent_dim": Parameter(
        "main",
        [_count(), StrOptions({"auto"})],
        "auto",
        WEIGHTS,
        """int or "auto", default="auto"
    Width of the code. ``"auto"`` is half the number of features, at most 16. Ignored with a
    network of your own.""",
    ),
    "network": Parameter(
        "main",
        [StrOptions({"dense", "conv", "residual"}), Autoencoder],
        "dense",
        WEIGHTS,
        """"dense", "conv", "residual" or Autoencoder, default="dense"
    ``"dense"`` builds a fully connected encoder and its mirror image, ``"conv"`` 3x3 convolutions
    that halve the image (needs ``image_shape``), ``"residual"`` pre-norm residual blocks
    (Gorishniy et al., NeurIPS 2021). An :class:`~aedetect.networks.Autoencoder` of your own is
    copied and trained from its weights; parameters that shape a network are then ignored.""",
    ),
    "hidden_layer_sizes": Parameter(
        "main",
        ["array-like", StrOptions({"auto"})],
        "auto",
        WEIGHTS,
        """array-like of int or "auto", default="auto"
    The encoder's widths before the code, or its channels, mirrored in the decoder; ``()`` for
    none. ``"auto"`` is (256, 64) for ``"dense"`` ((512, 256) for images), (16, 32) for ``"conv"``
    and (128, 128) for ``"residual"``.""",
    ),
    "max_epochs": Parameter(
        "main",
        [_count(), StrOptions({"auto"})],
        "auto",
        TRAINING,
        """int or "auto", default="auto"
    Passes over the training rows. ``"auto"`` makes 1,000 steps (1,500 for images), at least 10
    passes.""",
    ),
    "anomaly_score": Parameter(
        "main",
        [StrOptions({"auto"}), StrOptions(SCORES.keys())],
        "auto",
        OTHER,
        """str, default="auto"
    The measure of how odd a row is; ``score_samples`` is minus this measure. All are squared
    distances or behave like one.

    - ``"robust"``, the ``"auto"`` choice for tables: the sum of ``"density"`` and of a Mahalanobis
      distance as in ``"activations"``. Each is divided by the value that a tenth of the training
      rows exceeds.
    - ``"sharp"``, the ``"auto"`` choice for tables with ``contamination=0``: the weighted geometric
      mean of ``"activations"`` (0.4), ``"kernel_residual"`` (0.4) and ``"reconstruction"`` (0.2).
    - ``"relative"``, the ``"auto"`` choice for images (``image_shape``): the geometric mean of
      ``"sap"``, divided by the standard deviation of the row's pixels, and of a local outlier
      factor: the squared distance of the code to the nearest training codes, divided by that of
      the training codes around it (after Breunig et al., "LOF", SIGMOD 2000).
    - ``"sap"``: the distance between the activations of the row and of its reconstruction in each
      layer of the encoder before the code, divided by its mean over training rows (after Kim et
      al., "RaPP", ICLR 2020).
    - ``"reconstruction"``: the ``loss`` between the scaled row and its reconstruction, summed over
      features.
    - ``"standardized"``: the mean over features of the error divided by the feature's mean error
      on held-out rows.
    - ``"nap"``: the squared Mahalanobis distance of the differences that ``"sap"`` sums, with those
      of the code (RaPP).
    - ``"activations"``: the squared Mahalanobis distance of the activations and these differences.
    - ``"mahalanobis"``: the squared Mahalanobis distance of the code.
    - ``"neighbors"``, ``"latent_neighbors"``: the squared geometric mean of the distances to the 20
      nearest training rows, in the scaled features or in the code.
    - ``"density"``: the squared distance to the nearest tenth of 250 training rows, in the scaled
      features.
    - ``"kernel_residual"``: the squared distance to the mean of 2,000 training rows, weighted by a
      Gaussian kernel of their distances (Nadaraya, 1964; Watson, 1964).

    Covariances and neighbours are fitted to at most 10,000 training rows. A row equal to one of
    them is scored as if that training row had been left out.
    :class:`~aedetect.VAEDetector` also has ``"elbo"``, the negative evidence lower bound, and
    ``"reconstruction_probability"``, its first term (An & Cho, 2015), both by eight fixed draws
    from the posterior.""",
    ),
    "contamination": Parameter(
        "main",
        # Apart: scikit-learn's estimator checks ask for an interval without 0.
        [Interval(Real, 0, 0.5, closed="right"), Options(Real, {0}), StrOptions({"auto"})],
        "auto",
        TRAINING,
        """float in (0, 0.5], 0 or "auto", default="auto"
    The share of anomalies among the training rows.

    - ``"auto"``: unknown. ``offset_`` aims at flagging 2.5% of new normal rows, by an order
      statistic of the scores of the training rows. Each of these is scored as if it had been left
      out of covariances and neighbours, and scores of fitted rows are brought to the level of
      held-out ones. Anomalies among the training rows count towards the 2.5%, so fewer normal rows
      are flagged. If more rows than that stand far apart from all others, all of them are flagged.
    - A float above 0: that share. ``fit`` leaves that share of the rows, the farthest from the
      nearest three tenths of 250 rows, out of training and out of the score, and ``offset_`` flags
      that share of X.
    - 0: none, all rows are known to be normal. For tables the score is ``"sharp"``. ``offset_`` is
      the lowest score of a training row, so none of these is flagged.""",
    ),
    "labels": Parameter(
        "main",
        [StrOptions({"ignore", "use"})],
        "ignore",
        TRAINING,
        """{"ignore", "use"}, default="ignore"
    Whether ``fit`` uses ``y``. ``"ignore"``: no, as in all outlier detectors of
    scikit-learn. ``"use"``: ``y`` holds +1 for rows that are known to be normal, -1 for known
    anomalies, of which there must be one, and 0 for all others. Known anomalies are left out of
    scaling, training and the score. A linear function is then fitted that tells them from other
    rows by their cells, their errors and the score, and it is joined with the score: a row is odd
    if one of the two finds it odd. See :meth:`feedback`, which does so after a fit.""",
    ),
    "noise": Parameter(
        "main",
        [StrOptions(set(NOISES))],
        "gaussian",
        TRAINING,
        """{"gaussian", "masking", "salt_and_pepper"}, default="gaussian"
    ``"gaussian"`` adds normal noise (clipped to [0, 1] for ``loss="bce"``), ``"masking"``
    sets values to zero after scaling, ``"salt_and_pepper"`` to the minimum or maximum of their
    column.""",
    ),
    "noise_level": Parameter(
        "main",
        [Interval(Real, 0, None, closed="neither")],
        0.5,
        TRAINING,
        """float, default=0.5
    Standard deviation of the gaussian noise, in the units that the network sees (after
    ``scaling``); for the other two the share of values that are replaced, at most 1.""",
    ),
    "beta": Parameter(
        "main",
        [_not_negative()],
        1.0,
        TRAINING,
        """float, default=1.0
    Weight of the Kullback-Leibler divergence, summed over the code, against the negative
    log-likelihood, summed over the features (Higgins et al., "beta-VAE", ICLR 2017). 1 is the
    evidence lower bound; smaller values restore rows more closely.""",
    ),
    "image_shape": Parameter(
        "data",
        ["array-like", None],
        None,
        WEIGHTS,
        """(channels, height, width) or None, default=None
    The shape of an image, if rows are images; X stays two-dimensional. ``"conv"`` needs it, and
    the ``"auto"`` settings are then those for images. Channels come first: (32, 32, 3) is
    refused.""",
    ),
    "max_shift": Parameter(
        "data",
        [Interval(Integral, 0, None, closed="left"), StrOptions({"auto"})],
        "auto",
        TRAINING,
        """int or "auto", default="auto"
    Pixels by which training images (``image_shape``) are moved at most, up or down and left or
    right. Each move is drawn at random, anew for every image in every epoch but the last fifth of
    ``max_epochs``. The number of steps is unchanged. Pixels that come in repeat those of the edge.
    Held-out images stay, and so do the images that the score is fitted to.
    ``"auto"`` is 1 for images of 28 x 28 pixels or more, and 0 for smaller ones, where a pixel is
    a larger part of what they show. It is 0 too where each pixel is scaled by itself
    (``scaling``). Set 0 if a normal image is recognised by its exact place.""",
    ),
    "scaling": Parameter(
        "data",
        [StrOptions({"auto", "standard", "common"}), None],
        "auto",
        WEIGHTS,
        """{"auto", "standard", "common"} or None, default="auto"
    ``"standard"`` scales each column to mean 0 and deviation 1. ``"common"`` centres each column
    but divides all by one number, so that a pixel that hardly varies stays unimportant.
    ``"auto"`` is ``"common"`` where the columns share a unit (half of them cover half of the range
    of the whole table), ``"standard"`` elsewhere, and None for ``loss="bce"``. None leaves X as it
    is. All others are robust to a few wild cells (at most 5% of a column, and 28 standard
    deviations off or more). These cells do not change means and deviations. In training the median
    of the column replaces them. In scoring, such a cell counts as the limit plus the logarithm of
    the amount by which it exceeds the limit.""",
    ),
    "missing": Parameter(
        "data",
        [StrOptions({"error", "mask"})],
        "error",
        WEIGHTS,
        """{"error", "mask"}, default="error"
    How NaN in X is treated. ``"error"`` refuses it. With ``"mask"`` the network gets zeros, the
    mean of a scaled column, in place of NaN, and a mask as further inputs. The loss of a row is the
    mean over its observed cells times the number of features. In each step a fifth of the observed
    cells is hidden at random and still counts in the loss, so the network is trained to impute.
    ``reconstruct`` and ``transform`` take rows with NaN. A row is scored with its missing cells
    filled, and the score is brought to the level of complete rows. A network of your own must begin
    with :class:`~aedetect.networks.MaskInput`. Rows without any value are refused, and so are
    columns without any value in ``fit``.""",
    ),
    "categorical_features": Parameter(
        "data",
        [StrOptions({"from_dtype"}), "array-like", None],
        "from_dtype",
        WEIGHTS,
        """{"from_dtype"}, array-like of bool, int or str, or None, default="from_dtype"
    The columns that hold categories. ``"from_dtype"``: those of a DataFrame of pandas, polars or
    Arrow that hold text, objects, booleans or categories; an array has none. Otherwise a mask, the
    numbers or the names of the columns. None: no column, and text is refused.

    The network gets a block of entries for each column, one a level, and returns a softmax. A
    column weighs as much as one of numbers, however many levels it has, in all scores. A missing
    cell is a level of its own; with ``missing="mask"`` it is filled. A level that ``fit`` never saw
    is as odd as a rare one. The rarest levels beyond 255 share an entry. ``reconstruct``,
    ``inverse_transform`` and ``repair`` return a DataFrame with levels that exist. Columns are then
    matched by name, in any order. ``partial_fit`` refuses new levels.""",
    ),
    "loss": Parameter(
        "training",
        [StrOptions(set(FEATURE_ERRORS))],
        "mse",
        WEIGHTS,
        """{"mse", "bce", "huber"}, default="mse"
    The error of a feature: squared, cross-entropy (X in [0, 1]; the decoder's output passes
    through a sigmoid), or Huber's with its bend at one scaled unit.""",
    ),
    "activation": Parameter(
        "training",
        [StrOptions(set(ACTIVATIONS))],
        "relu",
        WEIGHTS,
        """str, default="relu"
    After each hidden layer: ``"relu"``, ``"leaky_relu"`` (slope 0.1), ``"elu"``, ``"gelu"``,
    ``"silu"``, ``"tanh"``, ``"sigmoid"`` or ``"identity"``.""",
    ),
    "batch_norm": Parameter(
        "training",
        ["boolean"],
        False,
        WEIGHTS,
        """bool, default=False
    Whether hidden layers are normalised over the batch, before their activation.""",
    ),
    "dropout": Parameter(
        "training",
        [Interval(Real, 0, 1, closed="left")],
        0.0,
        WEIGHTS,
        """float in [0, 1), default=0.0
    Share of hidden activations that are dropped in training.""",
    ),
    "optimizer": Parameter(
        "training",
        [StrOptions(set(OPTIMIZERS))],
        "adam",
        TRAINING,
        """{"adam", "adamw", "sgd", "adagrad", "adadelta", "rmsprop"}, default="adam"
    ``"sgd"`` has Nesterov momentum 0.9; only ``"adamw"`` decouples ``weight_decay``.""",
    ),
    "learning_rate": Parameter(
        "training",
        [Interval(Real, 0, None, closed="neither")],
        1e-3,
        TRAINING,
        """float, default=0.001
    Highest learning rate of the run.""",
    ),
    "schedule": Parameter(
        "training",
        [StrOptions(set(SCHEDULES))],
        "onecycle",
        TRAINING,
        """{"constant", "cosine", "onecycle"}, default="onecycle"
    How the learning rate changes with each step: not at all, down to 0 along a cosine, or up for
    a tenth of the run and then down (Smith, "Super-convergence", 2018).""",
    ),
    "batch_size": Parameter(
        "training",
        [_count(), StrOptions({"auto"})],
        "auto",
        TRAINING,
        """int or "auto", default="auto"
    Rows in a step of training. ``"auto"`` is a twentieth of the rows, between 32 and 128 (256 for
    images). A short last batch is used; a lone last row joins the batch before it.""",
    ),
    "validation_fraction": Parameter(
        "training",
        [Interval(Real, 0, 1, closed="left")],
        0.1,
        TRAINING,
        """float in [0, 1), default=0.1
    Share of the rows held out for early stopping: the weights with the lowest held-out loss are
    kept. 0 trains on all rows to the end.""",
    ),
    "patience": Parameter(
        "training",
        [_count()],
        50,
        TRAINING,
        """int, default=50
    Epochs without a lower held-out loss after which training stops.""",
    ),
    "random_state": Parameter(
        "running",
        ["random_state"],
        None,
        TRAINING,
        """int, RandomState instance or None, default=None
    Determines the first weights, the held-out rows, the order of rows and all noise. With None,
    every fit gives other results. The global generators of NumPy and PyTorch are not touched.""",
    ),
    "n_members": Parameter(
        "running",
        [_count()],
        1,
        WEIGHTS,
        """int, default=1
    Number of networks that are trained together, each from its own start, with its own order of
    rows and its own noise. Reconstructions and distances are means over the members (distances to
    training rows in the scaled features are shared); the code is all members' codes side by side.
    Several ``"dense"`` networks cost far less than as many fits.""",
    ),
    "device": Parameter(
        "running",
        [str, torch.device, list, tuple],
        "auto",
        OTHER,
        """str, torch.device, or list of them, default="auto"
    Where ``fit`` trains, and where the fitted estimator then transforms, scores, explains and
    repairs: ``"auto"`` is CUDA, then MPS, then the CPU. MPS has no float64, so what was trained
    there scores on the CPU. ``to`` moves a fitted estimator. Pickles hold arrays of the CPU; one
    that is loaded, or a copy, computes on a device of the original's kind if there is one, else on
    the CPU. Files of ``save`` are loaded on the CPU unless ``load`` is told otherwise. Of a list,
    such as ``["cuda:0", "cuda:1"]``, a network is trained on the first GPU; all of them share rows
    to score, members of a convolutional ensemble, and the candidates of a search.""",
    ),
    "verbose": Parameter(
        "running",
        ["verbose"],
        False,
        OTHER,
        """int or bool, default=False
    Whether to show a progress bar on stderr.""",
    ),
    "warm_start": Parameter(
        "running",
        ["boolean"],
        False,
        OTHER,
        """bool, default=False
    Whether ``fit`` continues from the last fit: from its weights, its scaling of the columns, and
    the states of optimiser and random generators, which are kept for that. The ``schedule`` starts
    again, held-out rows are drawn again, score and threshold are fitted again, and the history is
    extended.""",
    ),
    "checkpoint": Parameter(
        "running",
        [str, os.PathLike, None],
        None,
        OTHER,
        """path-like or None, default=None
    A file, in an existing folder, that keeps the state of training. After a kill or an interrupt
    the next ``fit`` on these rows resumes from it and ends with equal weights, bit for bit on a
    CPU. The file is written at ends of epochs, in a twentieth of the time at most, and removed when
    ``fit`` succeeds. A file that belongs to other rows or to other parameters that affect the
    weights is refused.""",
    ),
    "downsample": Parameter(
        "conv",
        [StrOptions({"stride", "maxpool"})],
        "stride",
        WEIGHTS,
        """{"stride", "maxpool"}, default="stride"
    How ``"conv"`` halves the image: by a stride of 2, or by the maximum of 2x2 pixels. Odd sizes
    round up.""",
    ),
    "upsample": Parameter(
        "conv",
        [StrOptions({"nearest", "transpose", "unpool"})],
        "nearest",
        WEIGHTS,
        """{"nearest", "transpose", "unpool"}, default="nearest"
    How ``"conv"`` doubles the image: by repeating pixels before a convolution, by a transposed
    convolution (which leaves checkerboards; Odena et al., Distill 2016), or by putting values
    where the maxima were (Zeiler & Fergus, ECCV 2014; needs ``downsample="maxpool"``). A code
    does not hold these places, so with ``"unpool"`` ``inverse_transform`` restores less than
    ``reconstruct``.""",
    ),
    "latent": Parameter(
        "conv",
        [StrOptions({"vector", "map"})],
        "vector",
        WEIGHTS,
        """{"vector", "map"}, default="vector"
    The code of ``"conv"``: a vector of ``latent_dim`` values, made by a dense layer, or the last
    feature map, flattened. The image is halved after each layer for a map, between them for a
    vector.""",
    ),
    "latent_activation": Parameter(
        "expert",
        [StrOptions(set(ACTIVATIONS))],
        "identity",
        WEIGHTS,
        """str, default="identity"
    After the code; the choices are those of ``activation``.""",
    ),
    "tied_weights": Parameter(
        "expert",
        ["boolean"],
        False,
        WEIGHTS,
        """bool, default=False
    Whether the decoder of a ``"dense"`` network uses the encoder's weights, transposed.""",
    ),
    "l1_activity": Parameter(
        "expert",
        [_not_negative()],
        0.0,
        TRAINING,
        """float, default=0.0
    Weight of the sum of absolute values of the code against the error summed over features: a
    sparse autoencoder. A weight against the mean over features, as Keras has it, is this one
    divided by the number of features.""",
    ),
    "contractive": Parameter(
        "expert",
        [_not_negative()],
        0.0,
        TRAINING,
        """float, default=0.0
    Weight of the squared Frobenius norm of the code's Jacobian (Rifai et al., ICML 2011, eq. 7):
    exact for one dense layer with activation ``"sigmoid"``, ``"tanh"`` or ``"identity"``, else
    estimated by one random projection a row (Hoffman et al., 2019).""",
    ),
    "weight_decay": Parameter(
        "expert",
        [_not_negative()],
        0.0,
        TRAINING,
        """float, default=0.0
    Penalty on the size of the weights.""",
    ),
    "precision": Parameter(
        "expert",
        [StrOptions(set(PRECISIONS))],
        "float32",
        TRAINING,
        """{"float32", "tf32", "bf16"}, default="float32"
    Precision of matrix products in training: ``"tf32"`` rounds factors to 10 bits (CUDA only),
    ``"bf16"`` computes layers in bfloat16. Weights and all scoring stay float32.""",
    ),
    "compile": Parameter(
        "expert",
        ["boolean"],
        False,
        TRAINING,
        """bool, default=False
    Whether PyTorch compiles the network for training (``torch.compile``): several seconds at the
    start, and faster steps. It needs a C++ compiler on a CPU.""",
    ),
}


def names_that(affect: set[str]) -> list[str]:
    """Return the parameters that affect one of these things."""
    return [name for name, parameter in PARAMETERS.items() if parameter.affects in affect]


def documented(cls: ClassType) -> ClassType:
    """Set constraints and docstring of an estimator by the table and its signature."""
    names = list(inspect.signature(cls).parameters)
    cls._parameter_constraints = {  # type: ignore[attr-defined]
        name: PARAMETERS[name].constraint for name in names
    }
    if cls.__doc__:  # absent under python -OO
        cls.__doc__ = inspect.cleandoc(cls.__doc__).format(
            groups=_groups(names), parameters=_section(names), attributes=ATTRIBUTES
        )
    return cls


def _groups(names: list[str]) -> str:
    """Return a sentence a group of parameters, in the order of the signature."""
    lines = ["Parameters come in groups:", ""]
    for group, purpose in GROUPS.items():
        members = [f"``{name}``" for name in names if PARAMETERS[name].group == group]
        lines.append(
            textwrap.fill(f"- {purpose}: {', '.join(members)}.", 92, subsequent_indent="  ")
        )
    return "\n".join(lines)


def _section(names: list[str]) -> str:
    lines = ["Parameters", "----------"]
    for name in names:
        lines.append(f"{name} : {PARAMETERS[name].text}")
    return "\n".join(lines)

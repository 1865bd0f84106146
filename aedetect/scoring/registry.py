"""The dictionary of scores."""

from __future__ import annotations

import dataclasses
from typing import Any

from aedetect.model import Model, require
from aedetect.scoring.density import Density
from aedetect.scoring.evidence import EVIDENCE_SCORES, Evidence
from aedetect.scoring.labelled import NAME, Labelled
from aedetect.scoring.layerwise import Layerwise
from aedetect.scoring.likeness import Likeness
from aedetect.scoring.neighbors import CodeNeighbors, RowNeighbors
from aedetect.scoring.reconstruction import Reconstruction, Standardized
from aedetect.scoring.relative import Relative
from aedetect.scoring.residual import KernelResidual
from aedetect.scoring.robust import Robust
from aedetect.scoring.score import Score
from aedetect.scoring.sharp import Sharp
from aedetect.scoring.whitened import WHITENED, Whitened

# By the name that ``anomaly_score`` takes. A new score is registered here.
SCORES: dict[str, type[Score]] = {
    "reconstruction": Reconstruction,
    "standardized": Standardized,
    "sap": Layerwise,
    "neighbors": RowNeighbors,
    "latent_neighbors": CodeNeighbors,
    "density": Density,
    "kernel_residual": KernelResidual,
    "relative": Relative,
    "robust": Robust,
    "sharp": Sharp,
    **dict.fromkeys(WHITENED, Whitened),
    **dict.fromkeys(EVIDENCE_SCORES, Evidence),
}


def score_from_state(state: Any, model: Model) -> Score:
    """Return the score of a state, which must fit the model.

    Raises
    ------
    StateError
        If it does not.
    """
    is_labelled = isinstance(state, dict) and state.get("name") == NAME
    require(
        is_labelled or (isinstance(state, dict) and state.get("name") in SCORES),
        "its score is unknown",
    )
    kind = Labelled if is_labelled else SCORES[state["name"]]
    require(
        set(state) == {field.name for field in dataclasses.fields(kind)},
        "its score is that of another version of aedetect; fit the estimator again",
    )
    if is_labelled:
        base = score_from_state(state["base"], model)
        require(not isinstance(base, Labelled), "a score with labels is within another")
        state = {**state, "base": base, "likeness": Likeness(**state["likeness"])}
    score = kind.from_state(state)
    score.check(model)
    return score

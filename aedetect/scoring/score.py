"""The protocol of scores."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from aedetect.model import Model, View
    from aedetect.scoring.marks import Marks


class Reference(NamedTuple):
    """Training rows that a score is fitted to."""

    x: NDArray[np.float32]  # (n_rows, n_features), scaled, missing cells filled
    n_held_out: int  # the first rows, which the network was not fitted to


@dataclass(frozen=True, eq=False)
class Score:
    """A measure of how odd rows are: a squared distance or alike, at least 0, higher is odder.

    A score is fitted to reference rows once the network is trained. It is immutable and holds
    NumPy arrays, numbers and text alone. To add one, write a subclass in a file of its own and
    register it in ``aedetect/scoring/registry.py``.

    Parameters
    ----------
    name : str
        The name under which the score is registered.
    """

    needs_variational: ClassVar[bool] = False

    name: str

    @classmethod
    def fit(cls, name: str, model: Model, reference: Reference) -> Self:
        """Return the score fitted to reference rows."""
        return cls(name)

    def __call__(self, view: View) -> Tensor:
        """Return how odd each row is, ``(B,)``, float64.

        A reference row is scored as a new row; only a bank of neighbours leaves it out. In a
        covariance it would seem too normal, so such scores have :attr:`known` rows.
        """
        raise NotImplementedError

    @property
    def known(self) -> Marks | None:
        """The reference rows whose scores are stored, each left out; None if there are none."""
        return None

    def judge(self, view: View) -> Tensor:
        """Return the call's scores, those of :attr:`known` rows replaced by the stored ones."""
        scores = self(view)
        return scores if self.known is None else self.known.replace_known(view.x, scores)

    def parts(self, view: View) -> Tensor | None:
        """Return the summands of the score by feature, ``(B, F)``; None if it is not a sum."""
        return None

    def without_first(self, n_rows: int) -> Self:
        """Return the score without the first reference rows in its neighbour bank."""
        return self

    def leaving_out(self, view: View) -> Self:
        """Return the score without those reference rows that are among the rows of a view.

        A training row that is moved becomes a new row to the score. It would seem less odd than it
        is while the row that it was made of is still among the reference rows. The result is
        called; its :attr:`known` rows stay as they were.
        """
        return self

    def check(self, model: Model) -> None:
        """Raise a StateError if the arrays do not fit the model; they may be a stranger's."""

    def to_state(self) -> dict[str, Any]:
        """Return the fitted values as NumPy arrays and plain Python."""
        return dataclasses.asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Return the score of a state; :meth:`check` is called next."""
        return cls(**state)

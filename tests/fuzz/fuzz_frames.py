"""Frames of mixed columns through every method, many of them.

python tests/fuzz/fuzz_frames.py --cases 2000 --seed 0

Prints how many got an answer and how many met each rule; exits with 1 where one met neither.
"""

from __future__ import annotations

import argparse
import sys
import traceback
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from mixed_frames import draw_case, outcome_of

FAILURE = "failures"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("error")  # as in the tests
    outcomes: Counter[str] = Counter()
    try:
        draw_cases(options.cases, np.random.default_rng(options.seed), outcomes)
    except KeyboardInterrupt:  # what is done counts
        print()
    for outcome, count in outcomes.most_common():
        print(f"{count:6d}  {outcome}")
    return 1 if outcomes[FAILURE] else 0


def draw_cases(n_cases: int, rng: np.random.Generator, outcomes: Counter) -> None:
    """Draw cases, count their outcomes and print failures."""
    while outcomes.total() - outcomes["no such frame"] < n_cases:
        case = draw_case(rng)
        try:
            outcomes[outcome_of(case)] += 1
        except Exception as error:  # everything that is neither an answer nor a rule
            outcomes[FAILURE] += 1
            (*_, at) = traceback.extract_tb(error.__traceback__)
            where = f"{Path(at.filename).name}:{at.lineno}: {at.line}"
            print(f"{case}\n    {type(error).__name__}: {error!s:.600}\n    {where}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

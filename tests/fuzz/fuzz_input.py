"""Tables of every kind through every method, many of them.

python tests/fuzz/fuzz_input.py --cases 10000 --seed 0

Prints how many got a finite answer and how many met each rule; exits with 1 where one met neither.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from strategies import draw_case, outcome_of


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("error")  # as in the tests
    rng = np.random.default_rng(options.seed)
    outcomes, failures = Counter(), []
    for _ in range(options.cases):
        case = draw_case(rng)
        try:
            outcomes[outcome_of(case)] += 1
        except Exception as error:  # everything that is neither an answer nor a rule
            failures.append(f"{case}\n    {type(error).__name__}: {error}")
            print(failures[-1], flush=True)
    for outcome, count in outcomes.most_common():
        print(f"{count:6d}  {outcome}")
    print(f"{len(failures):6d}  failures of {options.cases} cases")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

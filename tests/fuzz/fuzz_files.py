"""Load files with random damage; each must raise a ModelFileError or give equal scores.

Run with ``python tests/fuzz/fuzz_files.py --cases 10000 --seed 0``. Half of the files are damaged
as disks and lines damage them. The others are forged: a random part of their header or arrays is
changed, and their checksum holds. A forged file that makes sense may load. It may then score, or
raise a ValueError.
"""

from __future__ import annotations

import argparse
import copy
import resource
import signal
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from forgery import put_together, take_apart

from aedetect import (
    AutoencoderTransformer,
    ConformalDetector,
    DenoisingAutoencoder,
    VAEDetector,
    load,
    save,
)
from aedetect.persistence import ModelFileError, info

X = np.random.RandomState(0).rand(40, 6)
SECONDS = 30  # after which a case counts as hanging
MEMORY = 2 * 2**30  # bytes that may be asked for beyond those at the start
VALUES = [
    *(None, True, False, 0, 1, -1, 2, 3, 7, 2**31, 2**63, 10**30, 0.5, -0.0, 1e-300, 1e300, 1e999),
    *("", "x", "auto", "os.system", "../../etc/passwd", "__class__", "\0", "\ud800", "é" * 50),
    *([], [1], [[]], [10**9], [1] * 1000, {}, {"$": "array", "name": "x"}, {"$": "network"}),
    *({"$": "float", "value": "nan"}, {"$": "same", "number": 0}, {"$": "tuple", "values": [1]}),
    *({"$": "scalar", "dtype": "O", "value": 1}, {"$": "strings", "values": ["a"]}, "own", "conv"),
]


def main() -> int:
    """Return how many cases failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.safetensors"
        originals = [original(detector, path) for detector in detectors()]
        limit_memory()
        outcomes: Counter[str] = Counter()
        for number in range(arguments.cases):
            rng = np.random.RandomState([arguments.seed, number])
            data, scores = originals[rng.randint(len(originals))]
            forge = rng.rand() < 0.5
            path.write_bytes((forged if forge else damaged)(data, rng))
            outcome = attempt(path, None if forge else scores)
            outcomes[f"{'forged' if forge else 'damaged'}: {outcome}"] += 1
            if outcome.startswith("FAILED"):
                print(f"case {number} of seed {arguments.seed}: {outcome}")
    for outcome, count in outcomes.most_common():
        print(f"{count:8,}  {outcome}")
    return sum(count for outcome, count in outcomes.items() if "FAILED" in outcome)


def detectors():
    """Return one small detector of every class."""
    tiny = {"hidden_layer_sizes": (3,), "max_epochs": 1}
    plain = AutoencoderTransformer(2, random_state=0, **tiny)
    generator = np.random.RandomState(0)
    return [
        plain.fit(X),
        DenoisingAutoencoder(2, n_members=2, anomaly_score="sap", random_state=generator, **tiny),
        VAEDetector(2, anomaly_score="elbo", random_state=0, **tiny),
        AutoencoderTransformer(2, network="residual", missing="mask", random_state=0, **tiny),
        AutoencoderTransformer(network="conv", image_shape=(1, 2, 3), random_state=0, max_epochs=1),
        ConformalDetector(plain, alpha=0.2, cv=2, random_state=0),
    ]


def original(detector, path):
    """Return the bytes of a detector's file, and its scores."""
    save(detector.fit(X), path)
    return path.read_bytes(), detector.score_samples(X)


def limit_memory():
    """Let a case that asks for much memory fail at once."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(
        resource.RLIMIT_AS, (used + MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1])
    )
    signal.signal(signal.SIGALRM, hang)


def hang(number, frame):
    raise KeyboardInterrupt("it hangs")


def attempt(path, scores):
    """Return the outcome of a file; ``scores`` are those of a file that is not forged."""
    signal.alarm(SECONDS)
    try:
        info(path)
    except ModelFileError:
        pass
    except BaseException as error:
        return f"FAILED info: {error!r}"
    try:
        detector = load(path)
    except ModelFileError as error:
        too_large = "MemoryError" in str(error) or "allocate" in str(error)
        return f"FAILED memory: {error}" if too_large else "one clear error"
    except BaseException as error:
        return f"FAILED load: {error!r}"
    finally:
        signal.alarm(0)
    try:
        found = detector.score_samples(X)
    except ValueError:
        return "FAILED score" if scores is not None else "loads, and refuses to score"
    except BaseException as error:
        return f"FAILED score: {error!r}"
    if scores is None:
        return "loads and scores"
    return "equal scores" if np.array_equal(found, scores) else "FAILED: other scores"


def damaged(data, rng):
    """Return a file as a bad disk or line leaves it."""
    kind = rng.randint(6)
    first, last = sorted(rng.randint(0, len(data) + 1, 2))
    if kind == 0:
        return data[:last]
    if kind == 1:
        return data[:first] + data[last:]
    if kind == 2:
        return data[:last] + data[first:]
    if kind == 3:
        return data[:first] + bytes(last - first) + data[last:]
    end = len(data) if kind == 4 else 8 + int.from_bytes(data[:8], "little")
    broken = bytearray(data)
    for place in rng.randint(0, end, rng.randint(1, 9)):
        broken[place] = rng.randint(256)
    return bytes(broken)


def forged(data, rng):
    """Return a file with random changes and a checksum that holds."""
    parts = take_apart(data)
    for _ in range(rng.randint(1, 4)):
        kind = rng.randint(4)
        if kind == 0:
            body = bytearray(parts.body)
            for place in rng.randint(0, len(body), rng.randint(1, 9)):
                body[place] = rng.randint(256)
            parts = parts._replace(body=bytes(body))
        elif kind == 1:
            change(parts.table, rng)
        else:
            change(parts.document, rng)
    return put_together(parts)


def change(root, rng):
    """Change one place in nested dictionaries and lists."""
    inner = [container for container in containers(root) if container]
    container = inner[rng.randint(len(inner))]
    keys = list(container) if isinstance(container, dict) else list(range(len(container)))
    key, other = (keys[rng.randint(len(keys))] for _ in range(2))
    kind = rng.randint(6)
    if kind == 0:
        del container[key]
    elif kind == 1:
        container[key], container[other] = container[other], container[key]
    elif kind == 2 and isinstance(container, dict):
        container[str(VALUES[rng.randint(len(VALUES))])] = copy.deepcopy(container[key])
    elif kind == 3 and isinstance(container[key], int | float):
        container[key] = container[key] + int(rng.randint(-3, 4))
    else:
        container[key] = copy.deepcopy(VALUES[rng.randint(len(VALUES))])


def containers(value):
    """Yield a dictionary or list and all that are in it."""
    if isinstance(value, dict | list):
        yield value
        for entry in value.values() if isinstance(value, dict) else value:
            yield from containers(entry)


if __name__ == "__main__":
    sys.exit(main())

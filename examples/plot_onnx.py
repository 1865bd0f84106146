"""
Score without PyTorch: a Pipeline as an ONNX file
==================================================

``to_onnx`` exports a whole Pipeline to one file. Any ONNX runtime can score with it, on a machine
without PyTorch. The export needs the extra ``onnx``.
"""

# %%
# A Pipeline with missing values
# ------------------------------
# Here benign tumours are normal and malignant tumours are anomalies. One value in twenty is
# missing.

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from aedetect import AutoencoderTransformer, to_onnx

X, y = load_breast_cancer(return_X_y=True)
X[np.random.RandomState(0).rand(*X.shape) < 0.05] = np.nan
benign, malignant = X[y == 1], X[y == 0]
pipeline = make_pipeline(
    SimpleImputer(), StandardScaler(), AutoencoderTransformer(8, random_state=0)
).fit(benign[:300])

# %%
# One file
# --------
# The file contains the imputer, the scaler, the network, the threshold and the training rows that
# the score compares with.

folder = tempfile.TemporaryDirectory()
path = to_onnx(pipeline, Path(folder.name) / "tumours.onnx")
print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB")

# %%
# Another process, without PyTorch
# --------------------------------
# The first lines forbid the imports that a server does not need. The input rows are float64 and
# contain missing values; the graph imputes, scales and scores them.

server = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "sklearn", "scipy", "pandas", "aedetect"}:
            raise ImportError(f"{name} is not installed here")

sys.meta_path.insert(0, Refuse())

import json
import time
import numpy as np
import onnxruntime

def seconds(n_rows):
    rows, times = X[:n_rows], []
    for _ in range(20):
        started = time.perf_counter()
        session.run(["label"], {"X": rows})
        times.append(time.perf_counter() - started)
    return float(np.median(times))

session = onnxruntime.InferenceSession(sys.argv[1])
X = np.load(sys.argv[2])
label, scores = session.run(["label", "score_samples"], {"X": X})
print(json.dumps({
    "label": label.tolist(),
    "score_samples": scores.tolist(),
    "seconds": {n_rows: seconds(n_rows) for n_rows in (1, 1000)},
}))
"""
rows = np.resize(np.concatenate([benign[300:], malignant]), (1000, X.shape[1]))
np.save(Path(folder.name) / "rows.npy", rows)
arguments = [path, Path(folder.name) / "rows.npy"]
answer = subprocess.run(
    [sys.executable, "-I", "-c", server, *arguments], check=True, capture_output=True, text=True
)
found = json.loads(answer.stdout)

# %%
# Comparison of the results
# -------------------------

scores = pipeline.score_samples(rows)
difference = np.abs(np.array(found["score_samples"]) / scores - 1).max()
n_equal = (np.array(found["label"]) == pipeline.predict(rows)).sum()
print(f"Largest relative difference of the scores: {difference:.1e}")
print(f"Equal labels: {n_equal} of {len(rows)}")

# %%
# Time per row
# ------------
# For a single row, Python spends most of its time on input checks in each step, which the graph
# does not have. For a thousand rows, the arithmetic dominates. The times are medians of 20 calls
# in one run on one machine; only their ratios carry over.


def seconds(n_rows):
    """Return the median time of ``predict`` in Python."""
    times = []
    for _ in range(20):
        started = time.perf_counter()
        pipeline.predict(rows[:n_rows])
        times.append(time.perf_counter() - started)
    return float(np.median(times))


batches = [1, 1000]
microseconds = pd.DataFrame(
    {
        "Python": [1e6 * seconds(n_rows) / n_rows for n_rows in batches],
        "ONNX": [1e6 * found["seconds"][str(n_rows)] / n_rows for n_rows in batches],
    },
    index=[f"{n_rows} at a time" for n_rows in batches],
)
ratio = microseconds["Python"] / microseconds["ONNX"]
print(microseconds.assign(ratio=ratio).round(1).to_string())

fig, ax = plt.subplots(figsize=(6, 3), layout="constrained")
microseconds.plot.barh(ax=ax, logx=True)
ax.set(xlabel="microseconds per row")
plt.show()
folder.cleanup()

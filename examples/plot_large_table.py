"""
A file ten times its memory
===========================

A table of 20 sensors lies in a file of 140 MB. It is fitted to and scored with 14 MB of its rows in
memory at a time, though it is sorted, and the scores go to a file.
"""

# %%
# A sorted file
# -------------
# The machine runs in eight modes, one after the other: rows that follow each other are alike. In
# every ten-thousandth row, one sensor is off.

from pathlib import Path
from tempfile import mkdtemp

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from aedetect import AutoencoderTransformer, open_rows
from aedetect.rows import score

N_SENSORS, N_MODES, N_ROWS = 20, 8, 1_760_000
rng = np.random.default_rng(0)
folder = Path(mkdtemp())
shape = (N_ROWS, N_SENSORS)
table = np.lib.format.open_memmap(folder / "sensors.npy", "w+", np.float32, shape)
for mode in np.split(table, N_MODES):
    causes = rng.normal(size=(len(mode), 2)).astype(np.float32)
    mode[:] = causes @ rng.normal(size=(2, N_SENSORS)) + 3 * rng.normal(size=N_SENSORS)
    mode += 0.2 * rng.standard_normal(mode.shape, dtype=np.float32)
table[::10_000, 7] += 40
del table

# %%
# Open, fit, score
# ----------------
# ``open_rows`` copies the file to a cache, block by block. ``fit`` trains on pools of blocks from
# all over the file, as many as 14 MB hold. ``score`` writes parts, and a call that was killed goes
# on when it is called again.

rows = open_rows(folder / "sensors.npy", memory="14MB", cache=folder / "cache")
print(f"{4 * N_ROWS * N_SENSORS / rows.memory:.1f} times the memory: {rows!r}")
options = {"anomaly_score": "reconstruction", "batch_size": 1024, "random_state": 0}
detector = AutoencoderTransformer(4, **options).fit(rows)
path = score(detector, rows, folder / "scores.parquet")

# %%
# The odd rows
# ------------
# Rows of interest are read by themselves.

scores = pd.read_parquet(path)
lowest = scores.nsmallest(N_ROWS // 10_000, "score")
print(f"{(lowest['row'] % 10_000 == 0).mean():.0%} of the lowest scores are the odd rows.")
print(rows[np.sort(lowest["row"])[:3]].to_pandas().iloc[:, :8].round(2))

every = scores[::100]
fig, ax = plt.subplots(figsize=(8, 3), layout="constrained")
ax.semilogy(every["row"], -every["score"], ".", ms=1, label="all rows")
ax.semilogy(lowest["row"], -lowest["score"], "x", label="lowest scores")
ax.set(xlabel="row", ylabel="reconstruction error")
ax.legend()
plt.show()

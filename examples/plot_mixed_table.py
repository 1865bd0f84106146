"""
A table with text columns
=========================

A table of machines has numbers, text and yes-or-no columns. It goes in as it is. The cells that do
not fit come out by name, with the level that would fit.
"""

# %%
# A CSV file
# ----------
# Every model has its site, its voltage and its usual load. Of the last hundred machines, five have
# one wrong cell.

from pathlib import Path
from tempfile import mkdtemp

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from aedetect import ConformalDetector, DenoisingAutoencoder, datasets, report
from aedetect.plotting import ScoreDistributionDisplay

normal, _ = datasets.make_machines(1000, random_state=0)
new, _ = datasets.make_machines(100, n_anomalies=5, random_state=1)
path = Path(mkdtemp()) / "machines.csv"
pd.concat([normal, new]).to_csv(path, index=False)

# %%
# Fit and score
# -------------
# Columns of text and of true and false are categories.

table = pd.read_csv(path)
normal, new = table[:1000], table[1000:]
detector = DenoisingAutoencoder(random_state=0).fit(normal)
ScoreDistributionDisplay.from_estimator(detector, new)
plt.show()

# %%
# The odd rows
# ------------
# ``explain`` gives one number a column: 1 is usual.

odd = new.iloc[np.argsort(detector.score_samples(new))[:5]].sort_index()
print(odd)

# %%

detector.explain(odd).round(1)

# %%
# The nearest normal rows
# -----------------------
# A level changes to another one that exists, never to something between.

repaired = detector.repair(odd)
odd.astype(str).where(odd == repaired, odd.astype(str) + " → " + repaired.astype(str))

# %%
# Alarms with a guarantee, and a page
# -----------------------------------
# The report shows the odd rows with their levels.

conformal = ConformalDetector(detector, alpha=0.02, random_state=0).fit(normal)
print(f"{(conformal.predict(new) == -1).sum()} alarms in {len(new)} rows")
report(conformal, new, path=path.with_name("machines.html"))

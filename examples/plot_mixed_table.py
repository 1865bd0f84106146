"""
A table with text columns
=========================

A table of machines has numbers, text and yes-or-no columns. It goes in as it is. The cells that do
not fit come out by name, with the level that would fit.
"""

# %%
# A CSV file
# ----------
# Every model has its site, its voltage and its usual load. In the last five rows, one cell is
# wrong.

from pathlib import Path
from tempfile import mkdtemp

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from aedetect import ConformalDetector, DenoisingAutoencoder, report
from aedetect.plotting import ScoreDistributionDisplay

rng = np.random.RandomState(0)
models = pd.DataFrame(
    {
        "model": ["A200", "A300", "B10", "B20", "C7"],
        "site": ["Bremen", "Bremen", "Lyon", "Lyon", "Turin"],
        "voltage": [230, 400, 230, 400, 400],
        "load": [12.0, 31.0, 8.0, 22.0, 55.0],
    }
)
machines = models.iloc[rng.choice(5, 605, p=[0.3, 0.2, 0.2, 0.2, 0.1])].reset_index(drop=True)
machines["load"] = machines["load"] * rng.normal(1, 0.05, len(machines)).round(3)
machines["hot"] = machines["load"] > 40
machines["serviced by"] = rng.choice(["Ada", "Grace", "Emmy"], len(machines))
machines.loc[600, "site"] = "Turin" if machines.loc[600, "site"] != "Turin" else "Lyon"
machines.loc[601, "voltage"] = 630 - machines.loc[601, "voltage"]
machines.loc[602, "load"] *= 2
machines.loc[603, "hot"] = not machines.loc[603, "hot"]
machines.loc[604, "site"] = "Lion"  # a typing error: no other row has this level
path = Path(mkdtemp()) / "machines.csv"
machines.to_csv(path, index=False)

# %%
# Fit and score
# -------------
# Columns of text and of true and false are categories. Voltage is a number that stands for a kind
# of machine, so it is named in ``categorical_features``.

table = pd.read_csv(path)
categories = ["model", "site", "voltage", "hot", "serviced by"]
detector = DenoisingAutoencoder(categorical_features=categories, random_state=0)
detector.fit(table[:500])
ScoreDistributionDisplay.from_estimator(detector, table[500:])
plt.show()

# %%
# The odd rows
# ------------
# ``explain`` gives one number a column: 1 is usual.

new = table[500:]
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

conformal = ConformalDetector(detector, alpha=0.02, random_state=0).fit(table[:500])
print(f"{(conformal.predict(new) == -1).sum()} alarms in {len(new)} rows")
report(conformal, new, path=path.with_name("machines.html"))

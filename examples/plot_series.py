"""
Find odd months in a series
===========================

``WindowTransformer`` turns the rows of a series into windows, so that any detector of rows finds
anomalies in series. ``score_timestamps`` turns the scores of windows into scores of rows. The
series is the monthly temperature of the Pacific Ocean off Peru and Ecuador.
"""

# %%
# Sixty-one years of temperatures
# -------------------------------
# The first 32 years train. Two faults are put into the rest: a sensor sticks for eight months, and
# a year is entered half a year late.

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from aedetect import DenoisingAutoencoder
from aedetect.series import WindowTransformer, score_timestamps

path = Path("sea_temperatures.csv")
if not path.exists():  # run from another folder
    path = Path(__file__).with_name(path.name)
years = pd.read_csv(path, comment="#", index_col="YEAR")
months = pd.date_range("1950-01", periods=years.size, freq="MS")
X = pd.DataFrame({"celsius": years.to_numpy().ravel()}, index=months)
train, test = X[:"1981"], X["1982":].copy()

stuck, late = slice("1988-03", "1988-10"), slice("2003-01", "2003-12")
test.loc[stuck] = test.loc["1988-03"].to_numpy()
test.loc[late] = np.roll(test.loc[late], 6, axis=0)
is_fault = pd.Series(False, test.index)
is_fault[stuck] = is_fault[late] = True

# %%
# A detector of windows
# ---------------------
# A window of two years covers the seasons twice. In a Pipeline, the detector sees windows as rows,
# so any detector with ``score_samples`` may take its place.

detectors = {
    "DenoisingAutoencoder": DenoisingAutoencoder(contamination=0, random_state=0),
    "PCA": PCA(6),
    "IsolationForest": IsolationForest(random_state=0),
}
scores = {}
for name, detector in detectors.items():
    model = make_pipeline(StandardScaler(), WindowTransformer(24), detector).fit(train)
    scores[name] = score_timestamps(model, test)
    precision = average_precision_score(is_fault, -scores[name])
    print(f"{name}: average precision of the faulty months {precision:.2f}")

# %%
# The oddest months
# -----------------
# The scores have the index of the table. The two faults are odd, and so are the two warmest periods
# of El Niño, 1982 to 1983 and 1997 to 1998. They are no faults, but as rare; the average precision
# counts them as errors. PCA is about as good here: benchmarks of series mostly find simple methods
# ahead, so try them first.

oddest = scores["DenoisingAutoencoder"].nsmallest(48)
print("The oddest months by year:", oddest.index.year.value_counts().sort_index().to_dict())

figure, (above, below) = plt.subplots(2, sharex=True, figsize=(9, 4.5), layout="constrained")
above.plot(test, linewidth=1)
above.set(ylabel="temperature (°C)")
below.plot(-scores["DenoisingAutoencoder"], linewidth=1)
below.set(ylabel="anomaly score")
for axes in (above, below):
    for part in (stuck, late):
        axes.axvspan(np.datetime64(part.start), np.datetime64(part.stop), alpha=0.25, color="C3")
plt.show()

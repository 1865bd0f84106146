"""
Choose parameters with GridSearchCV
===================================

All parameters are flat and searchable, as in :class:`~sklearn.neural_network.MLPClassifier`. A
search can maximise the closeness of the reconstruction or the detection of anomalies.
"""

# %%
# Two tables
# ----------
# Zeros to fours are normal. ``X_normal`` contains only these. ``X_mixed`` also contains some other
# digits. ``y_mixed`` is +1 for a normal row and -1 for an anomaly.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler

from aedetect import AutoencoderTransformer, datasets

X_normal, X_mixed, y_mixed = datasets.make_anomaly_split(
    *datasets.load_digits(), normal=[0, 1, 2, 3, 4], n_test_anomalies=60, random_state=0
)
detector = AutoencoderTransformer(
    max_epochs=20, learning_rate=3e-3, anomaly_score="reconstruction", random_state=0
)
grid = {"latent_dim": [2, 4, 8, 16], "hidden_layer_sizes": [(64,), (128, 32)]}

# %%
# Without labels: reconstruction of unseen rows
# ---------------------------------------------
# The default score is the mean of ``score_samples`` on the held-out fold. It needs no labels. With
# ``anomaly_score="reconstruction"`` it is comparable between networks, but only within one ``loss``
# and one ``scaling``, since both change its unit.

by_error = GridSearchCV(detector, grid, cv=3).fit(X_normal)
print("Closest reconstruction:", by_error.best_params_)

# %%
# With labels: detection of anomalies
# -----------------------------------
# If some anomalies are known, ``scoring="roc_auc"`` measures detection directly. The folds are
# stratified, so that each contains anomalies. The training folds then contain some too, as
# unchecked data do in practice. ``fit`` ignores the labels and trains on all rows of its folds.

folds = StratifiedKFold(n_splits=3, shuffle=True, random_state=0)
by_auroc = GridSearchCV(detector, grid, cv=folds, scoring="roc_auc").fit(X_mixed, y_mixed)
print("Best detection:", by_auroc.best_params_)

# %%
# A very wide code restores anomalies too, so the two searches may give different results.

titles = {"Mean of score_samples": by_error, "AUROC": by_auroc}
fig, axes = plt.subplots(1, 2, figsize=(10, 2.6), layout="constrained")
for ax, (title, search) in zip(axes, titles.items(), strict=True):
    # ParameterGrid sorts the names: hidden_layer_sizes changes slowest.
    scores = search.cv_results_["mean_test_score"].reshape(len(grid["hidden_layer_sizes"]), -1)
    image = ax.imshow(scores, aspect="auto")
    for (row, column), score in np.ndenumerate(scores):
        color = "white" if image.norm(score) < 0.6 else "black"
        ax.text(column, row, f"{score:.3g}", ha="center", va="center", color=color)
    ax.set(title=f"{title} (higher is better)", xlabel="latent_dim", ylabel="hidden_layer_sizes")
    ax.set_xticks(range(scores.shape[1]), grid["latent_dim"])
    ax.set_yticks(range(scores.shape[0]), grid["hidden_layer_sizes"])
plt.show()

# %%
# Inside a Pipeline, on two processes
# -----------------------------------
# Parameters of a step are prefixed with its name. The fits may run in other processes:
# ``random_state`` governs the randomness there as well.

pipeline = Pipeline([("scale", MinMaxScaler()), ("ae", detector)])
search = GridSearchCV(
    pipeline, {"ae__latent_dim": [4, 16]}, cv=folds, scoring="roc_auc", n_jobs=2
).fit(X_mixed, y_mixed)
columns = ["param_ae__latent_dim", "mean_test_score", "std_test_score", "rank_test_score"]
print(pd.DataFrame(search.cv_results_)[columns].round(3).to_string(index=False))

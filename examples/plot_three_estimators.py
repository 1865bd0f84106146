"""
Three autoencoders beside PCA and an isolation forest
=====================================================

The plain, the denoising and the variational autoencoder are compared with two detectors made from
scikit-learn, on one set of test rows. At the end, the variational autoencoder draws new rows.
"""

# %%
# The data
# --------
# Zeros to fours are normal, the other digits are anomalies.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score

from aedetect import AutoencoderTransformer, DenoisingAutoencoder, VAEDetector, datasets

X_train, X_test, y_test = datasets.make_anomaly_split(
    *datasets.load_digits(), normal=[0, 1, 2, 3, 4], n_test_anomalies=60, random_state=0
)

# %%
# All detectors use their defaults; the autoencoders use those for images. The reconstruction error
# of PCA is computed here, because its ``score_samples`` is a likelihood. PCA keeps as many
# components as the code of the autoencoders has values.

detectors = [
    AutoencoderTransformer(image_shape=(1, 8, 8), random_state=0),
    DenoisingAutoencoder(image_shape=(1, 8, 8), random_state=0),
    VAEDetector(image_shape=(1, 8, 8), random_state=0),
    IsolationForest(random_state=0),
]
scores = {type(d).__name__: d.fit(X_train).score_samples(X_test) for d in detectors}
pca = PCA(n_components=detectors[0].latent_dim_, random_state=0).fit(X_train)
restored = pca.inverse_transform(pca.transform(X_test))
scores["PCA reconstruction"] = -np.square(X_test - restored).sum(axis=1)

# %%
# For the area under the ROC curve, +1 (normal) is the positive class, and scores are higher for
# normal rows. For average precision, anomalies are the positive class here, so the scores are
# negated.

table = pd.DataFrame(
    {
        name: {
            "AUROC": roc_auc_score(y_test, score),
            "average precision": average_precision_score(y_test == -1, -score),
        }
        for name, score in scores.items()
    }
).T
print(table.round(3).to_string())
print(f"Average precision of a random order: {np.mean(y_test == -1):.3f}")

# %%
# One split of one small data set does not rank the methods. On your own data, compare over several
# splits.

fig, ax = plt.subplots(figsize=(8, 3.5), layout="constrained")
table.iloc[::-1].plot.barh(ax=ax, width=0.75)
ax.set(xlabel="score on the test rows (1 is perfect)", xlim=(0, 1))
ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
plt.show()

# %%
# New digits
# ----------
# ``sample`` decodes codes drawn from the standard normal prior. A few samples do not look like
# digits, because the prior includes codes that are far from those of all training rows.

new = detectors[2].sample(24, random_state=0)
fig, axes = plt.subplots(3, 8, figsize=(8, 3.4), layout="constrained")
for ax, row in zip(axes.flat, new, strict=True):
    ax.imshow(row.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
    ax.set_axis_off()
fig.suptitle("Drawn by VAEDetector.sample")
plt.show()

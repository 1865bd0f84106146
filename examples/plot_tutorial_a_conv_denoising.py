"""
Tutorial A: remove noise from images
====================================

A convolutional autoencoder is trained to restore clean digits from noisy ones.
:class:`~aedetect.DenoisingAutoencoder` adds the noise and runs the training.
"""

# %%
# The digits
# ----------
# For MNIST, change two lines: ``X, y = datasets.load_mnist("train")`` and
# ``image_shape = (1, 28, 28)``. The images are read from the folder in the environment variable
# ``AEDETECT_DATA``, or downloaded if it is not set. Training takes far longer.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from aedetect import DenoisingAutoencoder, datasets
from aedetect.plotting import LearningCurveDisplay, ReconstructionDisplay

X, y = datasets.load_digits()
image_shape = (1, 8, 8)
X_train, X_test = train_test_split(X, test_size=0.2, random_state=0)

# %%
# Network and noise
# -----------------
# Each convolution is followed by max-pooling, and each transposed convolution of the decoder
# doubles the image again. The code is the last feature map. It has more values than the image, so
# the network could copy its input. With noise, a copy of the input has a high loss.

denoiser = DenoisingAutoencoder(
    network="conv",
    image_shape=image_shape,
    hidden_layer_sizes=(32, 32),
    activation="leaky_relu",
    downsample="maxpool",
    upsample="transpose",
    latent="map",
    loss="bce",
    noise="gaussian",
    noise_level=0.5,
    learning_rate=3e-3,
    random_state=0,
).fit(X_train)
print(f"{X.shape[1]} pixels, a code of {denoiser.latent_dim_} values")
print(denoiser.summary().to_string(index=False))

# %%
# Learning curve
# --------------
# Each batch gets new noise. The held-out rows keep their noise, so that epochs are comparable. The
# loss cannot reach zero, because the cross-entropy of a grey value with itself is positive.

display = LearningCurveDisplay.from_estimator(denoiser)
display.ax_.set_title("Restoring clean digits from noisy ones")
plt.show()

# %%
# Clean, noisy, restored
# ----------------------
# From top to bottom: clean test digits, noisy copies (``noisy=True``) and their reconstructions.
# The number above each digit is the score of the clean digit.

ReconstructionDisplay.from_estimator(denoiser, X_test[:10], noisy=True)
plt.show()

# %%
# Distance before and after
# -------------------------
# ``corrupt`` returns noisy copies, here of all test rows. ``reconstruct`` brings them closer to the
# clean rows.

noisy = denoiser.corrupt(X_test, random_state=0)
restored = denoiser.reconstruct(noisy)
distances = {"noisy": np.square(noisy - X_test), "restored": np.square(restored - X_test)}
table = pd.Series({name: d.mean() for name, d in distances.items()}, name="mean squared error")
print(table.round(4).to_string())

"""Training without an estimator around it."""

from __future__ import annotations

from aedetect.training import make_generator, train


class Unwatched:
    """Lets training run to its end."""

    def on_resume(self, epochs):
        pass

    def on_epoch_begin(self):
        pass

    def on_step_end(self):
        return False

    def on_epoch_end(self, epoch):
        return False


def run_training(network, objective, x, x_val=None, **settings):
    settings = {
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "weight_decay": 0.0,
        "schedule": "constant",
        "batch_size": 8,
        "max_epochs": 5,
        "patience": 1000,
        "precision": "float32",
        "compile": False,
        "generator": make_generator(0, x.device),
        "watcher": Unwatched(),
        **settings,
    }
    return train(network, objective, x, x[:0] if x_val is None else x_val, **settings)

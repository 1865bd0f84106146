"""Files that estimators are saved to."""

from __future__ import annotations

import copy
import os
import pickle
import re
import resource
import signal
import stat
import subprocess
import sys
from functools import partial
from importlib import import_module
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import safetensors
import skops.io
import torch
from sklearn.base import clone
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.covariance import EllipticEnvelope
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)
from skops.io.exceptions import UntrustedTypesFoundException
from torch import nn

import aedetect
from aedetect import (
    AutoencoderTransformer,
    ConformalDetector,
    DenoisingAutoencoder,
    VAEDetector,
    load,
    save,
)
from aedetect.networks import Autoencoder
from aedetect.persistence import SKOPS_TRUSTED, ModelFileError, info
from aedetect.persistence.estimators import CLASSES
from aedetect.series import WindowTransformer

IMAGE = {"network": "conv", "image_shape": (1, 2, 3), "hidden_layer_sizes": (4, 4)}
SETTINGS = {
    "dense": {},
    "batch_norm": {"batch_norm": True, "dropout": 0.1},
    "residual": {"network": "residual"},
    "conv": IMAGE,
    "unpool": {**IMAGE, "downsample": "maxpool", "upsample": "unpool"},
    "ensemble": {"n_members": 3},
    "bce": {"loss": "bce"},
    "no_validation": {"validation_fraction": 0.0},
}


@pytest.fixture(scope="module")
def X():  # noqa: N802
    return np.random.RandomState(0).rand(60, 6)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "detector.safetensors"


@pytest.fixture(autouse=True)
def _load_on_device(device, monkeypatch):
    """Let ``load`` without a device mean that of the suite, for scores of equal bits."""
    monkeypatch.setitem(globals(), "load", partial(aedetect.load, device=device))


def make(estimator_class=AutoencoderTransformer, **settings):
    settings = {"hidden_layer_sizes": (8,), "max_epochs": 2, "random_state": 0, **settings}
    return estimator_class(2, **settings)


def assert_same(twin, detector, X):
    """Compare bit for bit. ``tests/test_stored.py`` compares explanations and repairs."""
    for method in ("score_samples", "predict", "transform", "reconstruct"):
        np.testing.assert_array_equal(getattr(twin, method)(X), getattr(detector, method)(X))


# Round trips.


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_a_loaded_estimator_gives_the_same_bits(estimator_class, settings, X, path):
    detector = make(estimator_class, **settings).fit(X)
    save(detector, path)
    twin = load(path)
    assert type(twin) is estimator_class
    assert not twin.network_.training
    for rows in (X, X.astype(np.float32)):
        assert_same(twin, detector, rows)
    for name, column in detector.history_.items():
        np.testing.assert_array_equal(twin.history_[name], column)


@pytest.mark.parametrize("settings", [{"tied_weights": True}, {**IMAGE, "latent": "map"}], ids=str)
def test_networks_that_a_vae_has_not_come_back(settings, X, path):
    detector = AutoencoderTransformer(max_epochs=2, random_state=0, **settings).fit(X)
    save(detector, path)
    assert_same(load(path), detector, X)


def test_what_a_loaded_estimator_does_next_is_the_same(X, path):
    detector = make(VAEDetector, random_state=np.random.RandomState(3)).fit(X)
    save(detector, path)
    twin = load(path)
    np.testing.assert_array_equal(
        twin.sample(5, random_state=0), detector.sample(5, random_state=0)
    )
    np.testing.assert_array_equal(twin.fit(X).score_samples(X), detector.fit(X).score_samples(X))


def test_noise_comes_back(X, path):
    detector = make(DenoisingAutoencoder, noise="salt_and_pepper").fit(X)
    save(detector, path)
    np.testing.assert_array_equal(
        load(path).corrupt(X, random_state=1), detector.corrupt(X, random_state=1)
    )


@pytest.mark.parametrize(
    "parameters",
    [
        {"hidden_layer_sizes": [8, 4]},
        {"image_shape": np.array([1, 2, 3])},
        {"hidden_layer_sizes": (np.int64(8),), "dropout": np.float32(0.1)},
        {"learning_rate": np.float64(1e-3), "batch_norm": np.True_},
        {"hidden_layer_sizes": (), "contamination": 0.1, "verbose": 0, "device": "cpu"},
    ],
    ids=str,
)
def test_parameters_come_back_as_they_were(parameters, X, path):
    detector = make(**parameters).fit(X)
    save(detector, path)
    found = load(path).get_params()
    for name, value in detector.get_params().items():
        assert type(found[name]) is type(value), name
        np.testing.assert_equal(found[name], value)


def test_a_random_state_goes_on_where_it_was(X, path):
    random_state = np.random.RandomState(1)
    random_state.standard_normal()  # leaves half of a pair behind
    detector = make(random_state=random_state).fit(X)
    save(detector, path)
    twin = load(path)
    np.testing.assert_array_equal(
        twin.random_state.standard_normal(700), random_state.standard_normal(700)
    )


def test_a_name_from_an_array_comes_back_as_plain_text(X, path):
    save(make(loss=np.str_("huber")).fit(X), path)
    assert load(path).loss == "huber"


def test_a_device_comes_back_as_its_name(X, path):
    save(make(device=torch.device("cpu")).fit(X), path)
    assert load(path).device == "cpu"


def test_columns_are_checked_by_name_and_set_output_stays(X, path):
    frame = pd.DataFrame(X, columns=[f"größe {i}" for i in range(6)])
    detector = make().set_output(transform="pandas").fit(frame)
    save(detector, path)
    twin = load(path)
    pd.testing.assert_frame_equal(twin.transform(frame), detector.transform(frame))
    assert list(twin.feature_names_in_) == list(frame.columns)
    with pytest.raises(ValueError, match="feature names"):
        twin.score_samples(frame.rename(columns={"größe 0": "weight"}))


def test_parameters_set_after_the_fit_come_back_beside_the_fitted_network(X, path):
    detector = make().fit(X)
    scores = detector.score_samples(X)
    save(detector.set_params(hidden_layer_sizes=(3, 3), network="residual"), path)
    twin = load(path)
    assert twin.network == "residual"
    np.testing.assert_array_equal(twin.score_samples(X), scores)
    with pytest.raises(ValueError, match="patience"):
        save(detector.set_params(patience=-1), path)


def test_callbacks_are_left_out(X, path):
    class Silent:
        def setup(self, estimator, context): ...
        def on_fit_task_begin(self, estimator, context): ...
        def on_fit_task_end(self, estimator, context): ...
        def teardown(self, estimator, context): ...

    detector = make().set_callbacks(Silent()).fit(X)
    save(detector, path)
    assert_same(load(path), detector, X)


@pytest.mark.skipif("checkpoint" not in VAEDetector().get_params(), reason="no such parameter")
def test_where_a_fit_writes_is_left_out(X, path, tmp_path):
    save(make(checkpoint=tmp_path / "checkpoint").fit(X), path)
    assert load(path).checkpoint is None


# Detectors around detectors.


@pytest.mark.parametrize("settings", [{}, {"cv": 3}, {"prefit": True}, {"calibration_size": 2}])
@pytest.mark.filterwarnings("ignore:2 calibration rows are too few")
def test_a_conformal_detector_comes_back(settings, X, path):
    inner = make().fit(X[:30]) if "prefit" in settings else make()
    detector = ConformalDetector(inner, alpha=0.1, random_state=0, **settings).fit(X[30:])
    save(detector, path)
    twin = load(path)
    for method in ("p_values", "score_samples", "decision_function", "predict"):
        np.testing.assert_array_equal(getattr(twin, method)(X), getattr(detector, method)(X))
    assert info(path)["parameters"]["estimator"] == "AutoencoderTransformer"
    assert info(path)["n_features"] == 6


def test_one_detector_in_several_places_is_written_once_and_stays_one(X, path):
    inner = make().fit(X)
    save(inner, path)
    size = path.stat().st_size
    detector = ConformalDetector(inner, prefit=True).fit(X)
    save(detector.set_params(estimator=copy.deepcopy(inner)), path)
    size_of_two = path.stat().st_size
    save(detector.set_params(estimator=inner), path)
    assert path.stat().st_size < size_of_two - 0.5 * size
    twin = load(path)
    assert twin.estimator is twin.estimator_ is twin.estimators_[0]


def test_a_conformal_detector_around_another_librarys_is_refused(X, path):
    detector = ConformalDetector(IsolationForest(n_estimators=5), alpha=0.1, random_state=0).fit(X)
    with pytest.raises(
        TypeError, match=r"estimator is a sklearn.*IsolationForest.*skops\.io\.dump"
    ):
        save(detector, path)
    detector.set_params(estimator=EllipticEnvelope(random_state=0)).fit(X)
    skops.io.dump(detector, path)
    twin = skops.io.load(path, trusted=SKOPS_TRUSTED)
    np.testing.assert_array_equal(twin.p_values(X), detector.p_values(X))


def test_networks_of_ones_own_inside_take_theirs(X, path):
    inner = AutoencoderTransformer(network=own_network(), max_epochs=1, random_state=0)
    detector = ConformalDetector(inner, cv=2, random_state=0).fit(X)
    save(detector, path)
    twin = load(path, network=own_network())
    np.testing.assert_array_equal(twin.p_values(X), detector.p_values(X))


# Networks of one's own, and devices.


def own_network(width=4):
    encoder = nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, 2))
    return Autoencoder(encoder, nn.Linear(2, 6))


@pytest.mark.parametrize("n_members", [1, 2])
def test_a_network_of_ones_own_takes_the_weights_of_the_file(n_members, X, path):
    detector = AutoencoderTransformer(
        network=own_network(), n_members=n_members, max_epochs=2, random_state=0
    ).fit(X)
    save(detector, path)
    other = own_network()
    before = {name: weight.clone() for name, weight in other.state_dict().items()}
    twin = load(path, network=other)
    assert_same(twin, detector, X)
    assert twin.network is other
    assert all(weight.equal(before[name]) for name, weight in other.state_dict().items())


def test_a_network_of_ones_own_must_be_given_and_match(X, path):
    save(AutoencoderTransformer(network=own_network(), max_epochs=1).fit(X), path)
    with pytest.raises(ModelFileError, match=r"not its code\. Pass .* load\(path, network="):
        load(path)
    with pytest.raises(ModelFileError, match=r"encoder.0.weight' is .* \(4, 6\), but .* \(5, 6\)"):
        load(path, network=own_network(width=5))
    deeper = Autoencoder(nn.Sequential(own_network().encoder, nn.Linear(2, 2)), nn.Linear(2, 6))
    with pytest.raises(ModelFileError, match=r"needs a weight '.*encoder\.0\.0\.weight'"):
        load(path, network=deeper)
    shorter = Autoencoder(own_network().encoder, nn.Linear(2, 6, bias=False))
    with pytest.raises(ModelFileError, match=r"holds a weight .'.*decoder\.bias'"):
        load(path, network=shorter)
    with pytest.raises(ModelFileError, match=r"Pass an aedetect\.networks.Autoencoder"):
        load(path, network=nn.Linear(6, 6))


def test_a_network_is_refused_where_none_is_needed(X, path):
    save(make().fit(X), path)
    with pytest.raises(ModelFileError, match="network= was given"):
        load(path, network=own_network())


def device_of(estimator):
    return next(estimator.network_.parameters()).device.type


def test_the_network_goes_to_the_device_that_is_asked_for(X, path):
    save(make().fit(X), path)
    with pytest.raises(ValueError, match="cannot be used on this machine"):
        load(path, device="nonsense")
    for device in ("auto", "cpu"):
        assert device_of(load(path, device=device)) == "cpu"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_file_from_a_gpu_loads_on_the_cpu_and_back(X, path):
    detector = make(device="cuda").fit(X)
    assert device_of(detector) == "cpu"
    assert detector.detector_.model.device.type == "cuda"
    save(detector, path)
    loaded = load(path, device="auto")
    assert device_of(loaded) == loaded.detector_.model.device.type == "cpu"
    moved = load(path, device="cuda")
    assert device_of(moved) == "cuda"
    np.testing.assert_array_equal(moved.score_samples(X), detector.score_samples(X))


# Estimators that are refused.


def test_an_unfitted_estimator_is_refused(estimator_class, path):
    with pytest.raises(NotFittedError, match="Call 'fit'"):
        save(estimator_class(), path)
    assert not path.exists()


@pytest.mark.parametrize(
    "attribute",
    [{1, 2}, object(), np.array([1, "x"], dtype=object), np.zeros(2, complex), b"x", np.int8],
    ids=lambda value: type(value).__name__,
)
def test_an_attribute_that_the_file_cannot_carry_is_refused_by_name(attribute, X, path):
    detector = make().fit(X)
    detector._news = {"inner": [attribute]}
    with pytest.raises(TypeError, match=r"_news\.inner\.0 is a"):
        save(detector, path)
    assert not path.exists()


@pytest.mark.parametrize(
    "attribute",
    [(), [None, True, 3, "x"], {"a": {"b": (1.5,)}, 3: np.arange(3)}, {"$": 1}],
    ids=str,
)
def test_an_attribute_of_plain_python_and_arrays_comes_back(attribute, X, path):
    detector = make().fit(X)
    detector._news = attribute
    save(detector, path)
    np.testing.assert_equal(load(path)._news, attribute)


def test_what_could_not_be_loaded_is_not_saved(X, path):
    detector = make().fit(X)
    detector.offset_ = np.nan
    with pytest.raises(ValueError, match=r"cannot be saved: the threshold is nan.*\. Fit it again"):
        save(detector, path)


def test_other_estimators_are_refused_with_a_hint_at_skops(X, path):
    class Mine(VAEDetector): ...

    for estimator in (IsolationForest().fit(X), make(Mine).fit(X), make_pipeline(make()).fit(X)):
        with pytest.raises(TypeError, match=r"cannot write.*skops\.io\.dump"):
            save(estimator, path)


# The file itself.


def test_the_file_is_one_of_safetensors_and_the_same_each_time(X, path):
    detector = make().fit(X)
    save(detector, path)
    first = path.read_bytes()
    save(load(path), path)
    assert path.read_bytes() == first
    with safetensors.safe_open(path, "np") as file:
        weight = file.get_tensor("detector_.model.weights.encoder.0.weight")
    np.testing.assert_array_equal(weight, detector.network_.encoder[0].weight.detach())


def test_info_tells_what_the_header_holds_without_torch(X, path):
    frame = pd.DataFrame(X, columns=list("abcdef"))
    detector = make(random_state=np.random.RandomState(0), dropout=np.float32(0.5)).fit(frame)
    save(detector, path)
    facts = info(path)
    assert facts["class"] == "AutoencoderTransformer"
    assert facts["parameters"]["hidden_layer_sizes"] == (8,)
    assert facts["parameters"]["random_state"] == "RandomState"
    assert facts["parameters"]["dropout"] == 0.5
    assert facts["n_features"] == 6
    assert facts["feature_names"] == list("abcdef")
    assert facts["training"]["epochs"] == 2
    assert facts["training"]["loss"] == detector.history_["loss"][-1]
    assert facts["versions"]["aedetect"] == aedetect.__version__
    assert facts["n_bytes"] == path.stat().st_size
    assert facts["intact"]
    program = (
        "import sys; from aedetect.persistence import info; info(sys.argv[1]);"
        "assert not {'torch', 'sklearn', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, path], check=True)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert not info(path)["intact"]


def test_info_of_a_custom_network_and_of_no_held_out_rows(X, path):
    detector = AutoencoderTransformer(network=own_network(), max_epochs=1, validation_fraction=0)
    save(detector.fit(X), path)
    facts = info(path)
    assert facts["parameters"]["network"] == "network"
    assert facts["training"]["val_loss"] is None
    assert facts["feature_names"] is None


# Files of an earlier version.

FORMAT_1 = Path(__file__).parent / "data" / "format_1.aedetect"


def test_a_file_of_format_1_is_refused_with_the_way_to_go_on():
    remedy = re.escape(f"{FORMAT_1} cannot be loaded: it was written by an earlier version")
    with pytest.raises(ModelFileError, match=rf"{remedy}.*format 1.*info\(path\)\['parameters'\]"):
        load(FORMAT_1)


def test_a_file_of_format_1_is_described_and_its_parameters_can_be_fitted(X, path):
    facts = info(FORMAT_1)
    assert facts["format"] == 1
    assert facts["intact"]
    assert facts["feature_names"] == list("abcdef")
    detector = getattr(aedetect, facts["class"])(**facts["parameters"])
    save(detector.fit(pd.DataFrame(X, columns=facts["feature_names"])), path)
    assert info(path)["parameters"].items() >= facts["parameters"].items()  # some are new
    assert info(path)["format"] == 2


# Writing at once or not at all.


def names_in(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_a_former_file_is_replaced_and_keeps_its_permissions(X, path):
    path.write_bytes(b"former")
    path.chmod(0o640)
    save(make().fit(X), path)
    load(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert names_in(path.parent) == [path.name]


def test_a_link_is_followed(X, path, tmp_path):
    link = tmp_path / "latest"
    link.symlink_to(path)
    save(make().fit(X), link)
    assert link.is_symlink()
    load(path)


@pytest.mark.parametrize("kind", ["folder", "missing folder", "device"])
def test_a_path_that_cannot_be_written_is_named(kind, X, tmp_path):
    path = {
        "folder": tmp_path,
        "missing folder": tmp_path / "none" / "detector.safetensors",
        "device": "/dev/null",
    }[kind]
    with pytest.raises(OSError, match=re.escape(str(path))):
        save(make().fit(X), path)
    assert names_in(tmp_path) == []
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_full_disk_leaves_the_former_file(X, path):
    """A limit on the size of files stands for the disk: the system writes no further."""
    detector = make().fit(X)
    path.write_bytes(b"former")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        with pytest.raises(OSError, match=rf"File too large\..*'{path}'"):
            save(detector, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"former"
    assert names_in(path.parent) == [path.name]
    save(detector, path)
    assert_same(load(path), detector, X)


def start(program, *arguments):
    program = f"import os, signal, sys\nfrom aedetect.atomic import atomic_write\n{program}"
    return subprocess.Popen([sys.executable, "-c", program, *map(str, arguments)])


def test_a_kill_while_writing_leaves_the_former_file(path):
    program = (
        "with atomic_write(sys.argv[1]) as file:\n"
        "    file.write(b'half' * 10000)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path.write_bytes(b"former")
    assert start(program, path).wait() == -signal.SIGKILL
    assert path.read_bytes() == b"former"
    left = [name for name in names_in(path.parent) if name != path.name]
    assert re.fullmatch(rf"\.{re.escape(path.name)}\.\d+-\d+\.partial", *left)


def test_what_another_process_replaces_is_read_whole(X, path, tmp_path):
    detectors = [make(random_state=seed).fit(X) for seed in (0, 1)]
    paths = [tmp_path / str(number) for number in (0, 1)]
    for detector, other in zip(detectors, paths, strict=True):
        save(detector, other)
    program = (
        "contents = [open(path, 'rb').read() for path in sys.argv[2:]]\n"
        "while True:\n"
        "    for content in contents:\n"
        "        with atomic_write(sys.argv[1]) as file:\n"
        "            file.writelines([content[:9000], content[9000:]])\n"
    )
    process = start(program, path, *paths)
    seen = set()
    try:
        while process.poll() is None and len(seen) < 2:
            if path.exists():
                seen |= {load(path).score_samples(X).tobytes() for _ in range(20)}
    finally:
        process.kill()
        process.wait()
    assert seen == {detector.score_samples(X).tobytes() for detector in detectors}


# Whole Pipelines.


@pytest.mark.parametrize("settings", [{}, {"n_members": 2}, IMAGE], ids=str)
def test_a_pipeline_comes_back_from_skops_pickle_and_joblib(estimator_class, settings, X, tmp_path):
    pipeline = make_pipeline(StandardScaler(), make(estimator_class, **settings)).fit(X)
    skops.io.dump(pipeline, tmp_path / "pipeline.skops")
    joblib.dump(pipeline, tmp_path / "pipeline.joblib")
    untrusted = skops.io.get_untrusted_types(file=tmp_path / "pipeline.skops")
    assert set(untrusted) <= set(SKOPS_TRUSTED)
    twins = [
        skops.io.load(tmp_path / "pipeline.skops", trusted=SKOPS_TRUSTED),
        joblib.load(tmp_path / "pipeline.joblib"),
        pickle.loads(pickle.dumps(pipeline)),
    ]
    for twin in twins:
        np.testing.assert_array_equal(twin.score_samples(X), pipeline.score_samples(X))
        np.testing.assert_array_equal(twin.transform(X), pipeline.transform(X))
        clone(twin)


COMMON_STEPS = [
    SimpleImputer(add_indicator=True),
    SimpleImputer(strategy="constant", fill_value=1),
    KNNImputer(),
    IterativeImputer(max_iter=2),
    make_pipeline(KNNImputer(), KBinsDiscretizer(3, quantile_method="averaged_inverted_cdf")),
    make_pipeline(KNNImputer(), QuantileTransformer(n_quantiles=10), PolynomialFeatures()),
    make_pipeline(KNNImputer(), FunctionTransformer(np.log1p), PowerTransformer(), PCA(2)),
    make_pipeline(KNNImputer(), make_union(RobustScaler(), MinMaxScaler(), Normalizer())),
]


@pytest.mark.parametrize("step", COMMON_STEPS, ids=lambda step: str(step).replace("\n", " "))
def test_common_steps_come_back_from_skops(step, X, tmp_path):
    frame = pd.DataFrame(X, columns=list("abcdef"))
    frame.loc[3, "b"] = np.nan
    frame["word"] = np.where(frame["a"] < 0.5, "low", "high")
    columns = make_column_transformer(
        (clone(step), make_column_selector(dtype_include="number")),
        (make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder()), ["word"]),
        sparse_threshold=0,
    )
    detector = ConformalDetector(make_pipeline(columns, make()), cv=KFold(2), random_state=0)
    detector.fit(frame)
    skops.io.dump(detector, tmp_path / "detector.skops")
    twin = skops.io.load(tmp_path / "detector.skops", trusted=SKOPS_TRUSTED)
    np.testing.assert_array_equal(twin.p_values(frame), detector.p_values(frame))


def test_skops_trusts_the_classes_that_can_be_saved_and_types_that_exist():
    ours = [name for name in SKOPS_TRUSTED if name.startswith("aedetect.")]
    known = {kind: getattr(aedetect, kind) for kind in CLASSES}
    known["WindowTransformer"] = WindowTransformer  # a step of Pipelines, which save does not write
    paths = [f"{kind.__module__}.{name}" for name, kind in known.items()]
    assert sorted(ours) == sorted(paths)
    for name in set(SKOPS_TRUSTED) - set(ours):
        module, kind = name.rsplit(".", 1)
        assert isinstance(getattr(import_module(module), kind), type)


def test_skops_still_refuses_a_type_that_nobody_named(X, tmp_path):
    pipeline = make_pipeline(FunctionTransformer(os.path.normpath), make())
    skops.io.dump(pipeline, tmp_path / "pipeline.skops")
    with pytest.raises(UntrustedTypesFoundException, match="normpath"):
        skops.io.load(tmp_path / "pipeline.skops", trusted=SKOPS_TRUSTED)

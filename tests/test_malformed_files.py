"""Files that are damaged or made to do harm: each gives one clear error, and nothing else.

Most are forged: taken apart, changed, and put together with a checksum that holds, so that the
checks behind it are reached.
"""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from forgery import Parts, put_together, sign, take_apart, with_header
from safetensors.numpy import save as to_safetensors
from torch import nn

from aedetect import (
    AutoencoderTransformer,
    ConformalDetector,
    DenoisingAutoencoder,
    VAEDetector,
    load,
    save,
)
from aedetect.networks import Autoencoder
from aedetect.persistence import ModelFileError, info
from aedetect.persistence.container import FORMAT, MAX_HEADER
from aedetect.persistence.values import MAX_DEPTH

X = np.random.RandomState(0).rand(40, 6)
TINY = {"hidden_layer_sizes": (3,), "max_epochs": 2, "random_state": 0}


def bytes_of(detector, folder):
    save(detector, folder / "detector.safetensors")
    return (folder / "detector.safetensors").read_bytes()


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    """Return a file with something of everything: names, tuples, numbers, a generator, noise."""
    settings = {**TINY, "random_state": np.random.RandomState(0), "dropout": np.float32(0.1)}
    detector = DenoisingAutoencoder(2, **settings).fit(pd.DataFrame(X, columns=list("abcdef")))
    return bytes_of(detector, tmp_path_factory.mktemp("valid"))


@pytest.fixture
def refuse(tmp_path):
    """Return a function that asserts that a file is refused with the one error."""

    def refuse(data, match=None):
        path = tmp_path / "file.safetensors"
        path.write_bytes(data)
        with pytest.raises(ModelFileError, match=match) as caught:
            load(path)
        message = str(caught.value)
        assert message.startswith(f"{path} cannot be loaded: ")
        assert not re.search("MemoryError|can't allocate", message)
        assert len(message) < 2000

    return refuse


def test_what_is_put_together_unchanged_loads(valid, tmp_path):
    """Without this, every forged file could be refused for the forgery."""
    path = tmp_path / "file.safetensors"
    path.write_bytes(put_together(take_apart(valid)))
    assert load(path).score_samples(pd.DataFrame(X, columns=list("abcdef"))).shape == (40,)


# Damage.


@pytest.mark.parametrize("share", [*np.linspace(0, 0.99, 30), 1])
def test_a_truncated_file_is_refused(share, valid, refuse):
    refuse(valid[: min(int(share * len(valid)), len(valid) - 1)])


@pytest.mark.parametrize("n_bytes", range(17))
def test_a_few_bytes_are_refused(n_bytes, valid, refuse):
    refuse(valid[:n_bytes], "ends after" if n_bytes < 8 else "ends after|header")


@pytest.mark.parametrize("number", range(60))
def test_a_flipped_bit_is_refused_wherever_it_is(number, valid, refuse):
    data = bytearray(valid)
    place = int(np.random.RandomState(number).randint(8 * len(valid)))
    data[place // 8] ^= 1 << place % 8
    refuse(bytes(data))


def test_flipped_bits_of_the_length_and_the_checksum_are_refused(valid, refuse):
    start = valid.index(b"sha256")
    for place in [*range(8), *range(start, start + 80)]:
        data = bytearray(valid)
        data[place] ^= 4
        refuse(bytes(data))


def test_every_flipped_byte_of_the_arrays_is_told_by_the_checksum(valid, refuse):
    n_header = 8 + int.from_bytes(valid[:8], "little")
    for place in np.random.RandomState(0).randint(n_header, len(valid), 40):
        data = bytearray(valid)
        data[place] ^= 0xFF
        refuse(bytes(data), "checksum is not that of its content. Take another copy")


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 1000, b"\xff" * 1000, b"PK\3\4" * 100, b"{}" * 50, os.urandom(4096)]
)
def test_what_is_no_such_file_is_refused(data, refuse):
    refuse(data)


@pytest.mark.parametrize("extra", [b"\0", b"x" * 5000])
def test_bytes_behind_the_end_are_refused(extra, valid, refuse):
    refuse(valid + extra, "checksum")
    parts = take_apart(valid)
    refuse(put_together(parts._replace(body=parts.body + extra)), "SafetensorError")


def test_a_safetensors_file_of_another_program_is_refused(refuse):
    for metadata in (None, {"format": "pt"}, {"aedetect": "1", "format": "pt"}):
        refuse(to_safetensors({"weight": np.zeros(3)}, metadata), "not written by aedetect.save")


def test_a_pickle_is_refused_and_not_run(tmp_path, refuse):
    class Harm:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harm"),)

    import pickle

    refuse(pickle.dumps(Harm()))
    torch.save(Harm(), tmp_path / "file.safetensors")
    refuse((tmp_path / "file.safetensors").read_bytes())
    assert not (tmp_path / "harm").exists()


def test_a_pipe_a_folder_and_a_missing_file_are_errors_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(ModelFileError, match=rf"{path} cannot .* is not a regular file"):
            load(path)
    with pytest.raises(IsADirectoryError, match=str(tmp_path)):
        load(tmp_path)
    with pytest.raises(FileNotFoundError, match="none"):
        load(tmp_path / "none")


# Headers.

HEADERS = {
    "huge length": (lambda p: (2**63).to_bytes(8, "little") + p.body, "ends after"),
    "longest length": (lambda p: b"\xff" * 8 + p.body, "ends after"),
    "too long": (lambda p: with_header(b" " * (MAX_HEADER + 1), p.body), "8,388,608 are allowed"),
    "empty": (lambda p: with_header(b"", p.body), "JSONDecodeError"),
    "not UTF-8": (lambda p: with_header(b'{"\xff\xfe": 1}', p.body), "UnicodeDecodeError"),
    "not JSON": (lambda p: with_header(b"import os", p.body), "JSONDecodeError"),
    "a list": (lambda p: with_header([p.table], p.body), "not written by aedetect"),
    "a number": (lambda p: with_header(1, p.body), "not written by aedetect"),
    "deep": (lambda p: with_header(b"[" * 10**6, p.body), "RecursionError"),
    "deep and closed": (
        lambda p: with_header(b'{"a":' * 10**5 + b"1" + b"}" * 10**5, p.body),
        "RecursionError",
    ),
    "key twice": (
        lambda p: with_header(b'{"a": 1, "a": 2, "__metadata__": {"aedetect": "1"}}', p.body),
        "occurs twice",
    ),
    "NaN": (lambda p: with_header(b'{"a": NaN}', p.body), "NaN, which is not JSON"),
    "many digits": (lambda p: with_header(b'{"a": ' + b"9" * 10**5 + b"}", p.body), "digits"),
    "metadata is text": (lambda p: with_header({"__metadata__": "1"}, p.body), "not written"),
    "metadata is a number": (
        lambda p: with_header({"__metadata__": {"aedetect": 1}}, p.body),
        "not written",
    ),
    "document is no JSON": (
        lambda p: with_header({"__metadata__": {"aedetect": "os.system"}}, p.body),
        "JSONDecodeError",
    ),
    "document is deep": (
        lambda p: with_header({"__metadata__": {"aedetect": "[" * 10**6}}, p.body),
        "RecursionError",
    ),
    "document is a list": (
        lambda p: with_header({"__metadata__": {"aedetect": "[]"}}, p.body),
        "format None",
    ),
    "document has a key twice": (
        lambda p: with_header({"__metadata__": {"aedetect": '{"format": 1, "format": 1}'}}, p.body),
        "occurs twice",
    ),
    "document of many lists": (
        lambda p: with_header({"__metadata__": {"aedetect": f"[{'[],' * 2 * 10**6}1]"}}, p.body),
        "format None",
    ),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_malformed_header_is_refused(name, valid, refuse):
    forge, match = HEADERS[name]
    refuse(forge(take_apart(valid)), match)


@pytest.mark.parametrize("number", [0, -1, None, "1", 1.0, True, []])
def test_a_format_that_is_none_is_refused(number, valid, refuse):
    parts = take_apart(valid)
    parts.document["format"] = number
    refuse(put_together(parts), r"format .* is not a number above 0")


def test_a_newer_format_is_refused_with_the_remedy(valid, refuse):
    parts = take_apart(valid)
    parts.document["format"] = FORMAT + 1
    refuse(put_together(parts), f"format is {FORMAT + 1}.* reads format {FORMAT}. Upgrade aedetect")


@pytest.mark.parametrize("digits", ["", "0" * 63, "z" * 64, "A" * 64, "0" * 64, 7, None, "é" * 64])
def test_a_checksum_that_is_none_is_refused(digits, valid, refuse):
    parts = take_apart(valid)
    text = json.dumps({**parts.document, "sha256": digits})
    refuse(with_header({"__metadata__": {"aedetect": text}, **parts.table}, parts.body), "checksum")


@pytest.mark.parametrize("entry", ["format", "versions", "training", "estimator"])
def test_a_document_with_an_entry_too_few_or_too_many_is_refused(entry, valid, refuse):
    parts = take_apart(valid)
    del parts.document[entry]
    refuse(put_together(parts), "entries|format None")
    parts = take_apart(valid)
    parts.document["pickle"] = "gASV"
    refuse(put_together(parts), r"entries .*pickle")


# The table of the arrays.

SCALE = "detector_.model.columns.scaling.scale"
TABLE = {
    "dtype": [("dtype", d) for d in ("F31", "BF16", "C64", "F8_E4M3", "object", "", None, 4, [])],
    "shape": [
        ("shape", shape)
        for shape in ([-1], [2**62, 2**62], [10**12], [0], [[3]], ["3"], None, 3, [1.5], [True])
    ],
    "data_offsets": [
        ("data_offsets", offsets)
        for offsets in (
            [0, 10**12],
            [-8, 0],
            [8, 0],
            [1, 2],
            [0],
            None,
            "0",
            [0, 2**64],
            [0.0, 8.0],
        )
    ],
}


@pytest.mark.parametrize(("key", "value"), [case for cases in TABLE.values() for case in cases])
def test_a_wrong_table_is_refused(key, value, valid, refuse):
    parts = take_apart(valid)
    for name in ("detector_.model.weights.encoder.0.weight", SCALE):
        table = copy.deepcopy(parts.table)
        table[name][key] = value
        refuse(put_together(parts._replace(table=table)))


def test_arrays_that_overlap_or_leave_holes_are_refused(valid, refuse):
    parts = take_apart(valid)
    for shift in (-4, 4, -8, 8):
        table = copy.deepcopy(parts.table)
        for place in list(table.values())[1:]:
            place["data_offsets"] = [offset + shift for offset in place["data_offsets"]]
        refuse(put_together(parts._replace(table=table)), "SafetensorError|dtype")


@pytest.mark.parametrize("entry", [None, [], "x", 1, {}])
def test_an_entry_of_the_table_that_is_none_is_refused(entry, valid, refuse):
    parts = take_apart(valid)
    refuse(put_together(parts._replace(table={**parts.table, "more": entry})))


# The estimator.


def forged(data, change):
    """Return a file whose estimator's JSON was changed in place."""
    parts = take_apart(data)
    change(parts.document["estimator"])
    return put_together(parts)


@pytest.mark.parametrize(
    "name",
    [
        *("os.system", "builtins.eval", "sklearn.svm.SVC", "BaseAutoencoder", "../VAEDetector"),
        *("", None, 1, [], {}, "__import__('os')", "aedetect.VAEDetector", "load", "datasets"),
    ],
    ids=repr,
)
def test_a_class_that_is_not_on_the_list_is_refused(name, valid, refuse, tmp_path):
    data = forged(valid, lambda root: root.update({"class": name}))
    refuse(data, "is none of AutoencoderTransformer, ")
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(ModelFileError, match="is none of"):
        info(tmp_path / "file")


@pytest.mark.parametrize(
    "root",
    [
        *(None, [], "x", 1, {}, {"$": "array", "name": SCALE}, {"$": "same", "number": 0}),
        *({"$": "object", "class": "VAEDetector"}, {"$": None}, {"$": ["estimator"]}),
        {"$": "estimator"},
        {"$": "estimator", "class": "VAEDetector", "parameters": {}, "fitted": {}},
    ],
    ids=repr,
)
def test_an_estimator_that_is_none_is_refused(root, valid, refuse):
    parts = take_apart(valid)
    parts.document["estimator"] = root
    refuse(put_together(parts))


HOSTILE = {
    "another class": lambda e: e.update({"class": "VAEDetector"}),
    "unknown parameter": lambda e: e["parameters"].update(evil=1),
    "place to write to": lambda e: e["parameters"].update(checkpoint="/tmp/evil"),
    "parameter out of range": lambda e: e["parameters"].update(patience=-1),
    "parameter of another type": lambda e: e["parameters"].update(loss=["mse"]),
    "parameter that is a network": lambda e: e["parameters"].update(network={"$": "network"}),
    "method as attribute": lambda e: e["fitted"].update(predict=1),
    "property as attribute": lambda e: e["fitted"].update(network_="cuda"),
    "class as attribute": lambda e: e["fitted"].update(__class__="os"),
    "dictionary as attribute": lambda e: e["fitted"].update(__dict__={}),
    "parameter as attribute": lambda e: e["fitted"].update(patience=3),
    "path as attribute": lambda e: e["fitted"].update({"../../etc/passwd": 1}),
    "own network as attribute": lambda e: e["fitted"].update(_own_network={"$": "network"}),
    "more in the detector": lambda e: detector(e).update(more=1),
    "less in the detector": lambda e: detector(e).pop("typical"),
    "levels of complete rows": lambda e: detector(e).update(levels={"slope": 1, "shift": 1}),
    "threshold of NaN": lambda e: detector(e).update(offset={"$": "float", "value": "nan"}),
    "more in the scaling": lambda e: model(e)["columns"]["scaling"].update(more=1),
    "less in the scaling": lambda e: model(e)["columns"]["scaling"].pop("scale"),
    "limits that change places": lambda e: swap(model(e)["columns"]["scaling"], "low", "high"),
    "loss of no kind": lambda e: model(e).update(loss="os.system"),
    "weight of the prior below 0": lambda e: model(e).update(beta=-1.0),
    "score of no kind": lambda e: score(e).update(name="os.system"),
    "score of another kind": lambda e: score(e).update(name="sap"),
    "score of a list": lambda e: score(e).update(name=["sap"]),
    "score with a part too many": lambda e: score(e).update(name="neighbors", bank={}),
    "parts that change places": lambda e: swap(score(e), "sites", "marks"),
    "sites that are left out": lambda e: score(e)["sites"].update(n_left_out=1),
    "no nearest site": lambda e: score(e)["sites"].update(n_nearest=0),
    "more nearest sites than there are": lambda e: score(e)["sites"].update(n_nearest=10**6),
    "ridge of zero": lambda e: whitenings(e)[0].update(ridge=0.0),
    "ridge of text": lambda e: whitenings(e)[0].update(ridge="1"),
    "no whitening": lambda e: score(e).update(whitenings=[]),
    "whitening of another kind": lambda e: score(e).update(whitenings=[score(e)["sites"]]),
    "no marks": lambda e: score(e).update(marks=None),
    "smoothing of zero": lambda e: score(e)["sites"].update(smoothing=0.0),
    "noise of no kind": lambda e: noise(e).update(noise="os.system"),
    "noise of no level": lambda e: noise(e).update(level=0.0),
    "more in the noise": lambda e: noise(e).update(more=1),
    "deep values": lambda e: e["fitted"].update(_more=deep(MAX_DEPTH + 1)),
    "very deep values": lambda e: e["fitted"].update(_more=deep(900)),
    "array used twice": lambda e: e["fitted"].update(_more=noise(e)["bounds"]),
    "array not used": lambda e: noise(e).pop("bounds"),
    "array that is missing": lambda e: noise(e)["bounds"].update(name="../bounds"),
    "array with a list for a name": lambda e: noise(e)["bounds"].update(name=["bounds"]),
    "fields of no tag": lambda e: noise(e)["bounds"].update(evil=1),
    "keys that are lists": lambda e: e["fitted"].update(_more={"$": "dict", "items": [[[1], 2]]}),
    "strings that are none": lambda e: e["fitted"]["feature_names_in_"].update(values=[1] * 6),
    "names too few": lambda e: e["fitted"]["feature_names_in_"].update(values=["a"]),
    "names that are a number": lambda e: e["fitted"].update(feature_names_in_=3),
    "numbers of columns too few": lambda e: e["fitted"].update(_column_numbers=[1]),
    "numbers of columns of text": lambda e: e["fitted"].update(_column_numbers=["a"] * 6),
    "generator beyond its words": lambda e: generator(e)["state"].update(pos=10**9),
    "generator of another kind": lambda e: generator(e).update(bit_generator="PCG64"),
    "generator without words": lambda e: generator(e)["state"].update(key=3),
    "history of no columns": lambda e: e["fitted"].update(history_={}),
    "history of a number": lambda e: e["fitted"]["history_"].update(loss=1.0),
    "epochs of another number": lambda e: e["fitted"].update(n_iter_=3),
    "parameters of numbers": lambda e: e["fitted"]["_shaped_by"].update(loss=1),
    "columns of another number": lambda e: e["fitted"].update(n_features_in_=7),
    "columns that are no count": lambda e: e["fitted"].update(n_features_in_=6.0),
    "columns without end": lambda e: e["fitted"].update(n_features_in_=10**15),
    "members without end": lambda e: spec(e).update(n_members=10**12),
    "two members": lambda e: spec(e).update(n_members=2),
    "wide layer": lambda e: spec(e).update(hidden_layer_sizes=[10**9]),
    "layer wider than numbers": lambda e: spec(e).update(hidden_layer_sizes=[2**40, 2**40]),
    "many layers": lambda e: spec(e).update(hidden_layer_sizes=[1] * 10**6),
    "layer of no width": lambda e: spec(e).update(hidden_layer_sizes=[0]),
    "layer of half a unit": lambda e: spec(e).update(hidden_layer_sizes=[1.5]),
    "layers that are text": lambda e: spec(e).update(hidden_layer_sizes="auto"),
    "wide code": lambda e: spec(e).update(latent_dim=10**9),
    "code of text": lambda e: spec(e).update(latent_dim="auto"),
    "network of no kind": lambda e: spec(e).update(kind="os.system"),
    "network of another kind": lambda e: spec(e).update(kind="residual"),
    "network of images": lambda e: spec(e).update(kind="conv", image_shape=[1, 2, 3]),
    "network of one's own": lambda e: spec(e).update(kind="own"),
    "image of another size": lambda e: spec(e).update(image_shape=[1, 2, 4]),
    "image without end": lambda e: spec(e).update(image_shape=[1, 10**9, 10**9]),
    "activation of no kind": lambda e: spec(e).update(activation="eval"),
    "activation of a list": lambda e: spec(e).update(activation=["relu"]),
    "more in the spec": lambda e: spec(e).update(evil=1),
    "less in the spec": lambda e: spec(e).pop("activation"),
    "spec of a list": lambda e: model(e).update(spec=[]),
    "columns of the network": lambda e: spec(e).update(n_features=7),
    "columns of the network without end": lambda e: spec(e).update(n_features=10**15),
    "codes of a VAE": lambda e: spec(e).update(is_variational=True),
    "network that takes missing cells": lambda e: spec(e).update(takes_missing=True),
    "norms without weights": lambda e: spec(e).update(batch_norm=True),
    "tied weights": lambda e: spec(e).update(tied_weights=True),
    "weights in a list": lambda e: model(e).update(weights=list(weights(e).values())),
    "weights that are none": lambda e: model(e).update(weights={}),
    "weight of another name": lambda e: rename(weights(e)),
    "weight of a number": lambda e: weights(e).update({"encoder.0.weight": 3}),
}


def detector(root):
    return root["fitted"]["detector_"]


def model(root):
    return detector(root)["model"]


def spec(root):
    return model(root)["spec"]


def weights(root):
    return model(root)["weights"]


def score(root):
    return detector(root)["score"]


def whitenings(root):
    return score(root)["whitenings"]


def noise(root):
    return root["fitted"]["_corruption"]


def swap(values, first, second):
    values[first], values[second] = values[second], values[first]


def generator(root):
    return root["parameters"]["random_state"]["state"]


def rename(weights):
    weights["encoder.9.weight"] = weights.pop("encoder.0.weight")


def deep(levels):
    value = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("name", HOSTILE)
def test_a_forged_estimator_is_refused(name, valid, refuse):
    before = take_apart(valid).document
    data = forged(valid, HOSTILE[name])
    assert take_apart(data).document != before
    refuse(data)


# Names on the way to a value, which is in the file of every fitted estimator.
PATHS = [
    *(("detector_",), ("history_",), ("n_iter_",), ("n_features_in_",), ("_corruption",)),
    *(("detector_", name) for name in ("model", "score", "left_out_scores", "usual_rows")),
    *(("detector_", "model", name) for name in ("spec", "weights", "columns", "loss", "beta")),
    ("detector_", "model", "columns", "scaling"),
    *(("detector_", "score", name) for name in ("sites", "whitenings", "units", "marks")),
]


def holder(root, path):
    value = root["fitted"]
    for name in path[:-1]:
        value = value[name]
    return value


@pytest.mark.parametrize("path", PATHS, ids=".".join)
def test_a_value_that_is_missing_or_of_another_type_is_refused(path, valid, refuse):
    parts = take_apart(valid)
    values = holder(parts.document["estimator"], path)
    for value in (None, "text", -1, [], {}, {"$": "tuple", "values": []}):
        values[path[-1]] = value
        refuse(put_together(parts))
    del values[path[-1]]
    refuse(put_together(parts))


@pytest.mark.parametrize("name", ["_column_numbers", "_shaped_by", "_continuation"])
def test_a_value_that_a_later_fit_needs_is_checked_too(name, valid, refuse):
    parts = take_apart(valid)
    attributes = parts.document["estimator"]["fitted"]
    for value in ("text", -1, [], ["text"]):
        attributes[name] = value
        refuse(put_together(parts), name)
    del attributes[name]
    refuse(put_together(parts), f"{name}.*missing")


# Every array of every kind of estimator.

KINDS = {
    **{
        score: (AutoencoderTransformer, {"anomaly_score": score})
        for score in (
            *("standardized", "sap", "mahalanobis", "latent_neighbors"),
            *("density", "kernel_residual", "robust", "sharp"),
        )
    },
    "elbo": (VAEDetector, {"anomaly_score": "elbo"}),
    "ensemble": (
        DenoisingAutoencoder,
        {"n_members": 2, "batch_norm": True, "anomaly_score": "sap"},
    ),
    "conv": (AutoencoderTransformer, {"network": "conv", "image_shape": (1, 2, 3)}),
}
DTYPES = {"float32": "F32", "float64": "F64", "int64": "I64", "bool": "BOOL"}


def as_arrays(parts):
    kinds = {kind: dtype for dtype, kind in DTYPES.items()}
    return {
        name: np.frombuffer(
            parts.body[slice(*entry["data_offsets"])], kinds[entry["dtype"]]
        ).reshape(entry["shape"])
        for name, entry in parts.table.items()
    }


def with_arrays(parts, arrays):
    data = to_safetensors({name: np.asarray(a, order="C") for name, a in arrays.items()})
    end = 8 + int.from_bytes(data[:8], "little")
    return put_together(Parts(parts.document, json.loads(data[8:end]), data[end:]))


def not_finite(array):
    if array.dtype.kind != "f":
        return array.astype(np.float32)
    broken = array.copy()
    broken.flat[-1] = np.nan
    return broken


WRONG = {
    "narrower": lambda a: a[..., :-1] if a.ndim else a[None],
    "wider": lambda a: np.concatenate([a, a[..., :1]], axis=-1) if a.ndim else a[None],
    "one number": lambda a: a.reshape(-1)[:1],
    "no axes": lambda a: a.reshape(-1)[0] if a.ndim else a[None],
    "one axis more": lambda a: a[None],
    "other numbers": lambda a: a.astype(np.float32 if a.dtype == np.int64 else np.int64),
    "other floats": lambda a: a.astype(np.float64 if a.dtype == np.float32 else np.float32),
    "not finite": not_finite,
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_array_of_another_shape_or_dtype_or_with_nan_is_refused(kind, refuse, tmp_path):
    estimator_class, settings = KINDS[kind]
    detector = estimator_class(2, **{**TINY, **settings}).fit(X)
    parts = take_apart(bytes_of(detector, tmp_path))
    arrays = as_arrays(parts)
    others = ("members.1", "history_", "left_out_scores")
    names = [n for n in arrays if not any(part in n for part in others)]
    assert len(names) > 8
    for name in names:
        for wrong in WRONG.values():
            changed = np.asarray(wrong(arrays[name]))
            if not np.array_equal(changed, arrays[name]) or changed.dtype != arrays[name].dtype:
                refuse(with_arrays(parts, {**arrays, name: changed}))
        missing = {other: array for other, array in arrays.items() if other != name}
        refuse(with_arrays(parts, missing), "missing or used twice")
        refuse(with_arrays(parts, {**arrays, f"{name}/more": arrays[name]}), "nothing uses")


def test_scales_that_are_not_positive_are_refused(valid, refuse):
    parts = take_apart(valid)
    arrays = as_arrays(parts._replace(table={"s": parts.table[SCALE]}))
    for scale in (-arrays["s"], 0 * arrays["s"]):
        body = bytearray(parts.body)
        first, last = parts.table[SCALE]["data_offsets"]
        body[first:last] = scale.tobytes()
        refuse(put_together(parts._replace(body=bytes(body))), "a scale is not above 0")


OWN = {
    "columns without end": lambda root: (
        root["fitted"].update(n_features_in_=10**11),
        spec(root).update(n_features=10**11),
    ),
    "networks without end": lambda root: spec(root).update(n_members=10**12),
    "networks without weights": lambda root: (
        spec(root).update(n_members=10**12),
        model(root).update(weights={}),
    ),
    "more networks than weights": lambda root: spec(root).update(n_members=2),
    "a network of this package": lambda root: spec(root).update(kind="dense"),
}


@pytest.mark.parametrize("name", OWN)
def test_a_forged_file_is_refused_for_a_network_of_ones_own(name, tmp_path):
    path = tmp_path / "detector.safetensors"
    network = Autoencoder(nn.Linear(6, 2), nn.Linear(2, 6))
    save(AutoencoderTransformer(network=network, max_epochs=1, random_state=0).fit(X), path)
    path.write_bytes(forged(path.read_bytes(), OWN[name]))
    for given in (network, Autoencoder(nn.Identity(), nn.Identity())):
        with pytest.raises(ModelFileError, match=str(path)):
            load(path, network=given)


CALIBRATION = {
    "no detectors": lambda e: e["fitted"].update(estimators_=[]),
    "a detector that is none": lambda e: e["fitted"].update(estimators_=[1]),
    "a detector to come": lambda e: e["fitted"].update(estimator_={"$": "same", "number": 1}),
    "a detector of text": lambda e: e["fitted"].update(estimator_={"$": "same", "number": "0"}),
    "a rank beyond all rows": lambda e: e["fitted"].update(_rank=10**9),
    "a block beyond all rows": lambda e: e["fitted"].update(_block_size=10**9),
    "a block of no row": lambda e: e["fitted"].update(_block_size=0),
    "a threshold of NaN": lambda e: e["fitted"].update(offset_={"$": "float", "value": "nan"}),
    "a threshold that is missing": lambda e: e["fitted"].pop("offset_"),
    "no scores": lambda e: e["fitted"].update(calibration_scores_=1.0),
    "a share of false alarms above 1": lambda e: e["parameters"].update(alpha=2),
}


@pytest.mark.parametrize("name", CALIBRATION)
def test_a_forged_conformal_detector_is_refused(name, refuse, tmp_path):
    inner = AutoencoderTransformer(2, **TINY)
    detector = ConformalDetector(inner, alpha=0.2, random_state=0).fit(X)
    refuse(forged(bytes_of(detector, tmp_path), CALIBRATION[name]))


def test_calibration_scores_that_are_not_those_of_the_folds_are_refused(refuse, tmp_path):
    inner = AutoencoderTransformer(2, **TINY)
    detector = ConformalDetector(inner, alpha=0.2, cv=2, random_state=0).fit(X)
    parts = take_apart(bytes_of(detector, tmp_path))
    arrays = as_arrays(parts)
    for name in ("calibration_scores_", "_calibration.0"):
        refuse(with_arrays(parts, {**arrays, name: arrays[name][::-1] + 1}), "calibration_scores_")
    refuse(
        with_arrays(parts, {**arrays, "calibration_indices_": arrays["calibration_indices_"][1:]})
    )


# Memory.

PROGRAM = """
import resource, sys
from pathlib import Path
import aedetect
from aedetect.persistence import ModelFileError
valid, *paths = map(Path, sys.argv[1:])
aedetect.load(valid)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in paths:
    try:
        aedetect.load(path)
    except ModelFileError:
        continue
    raise SystemExit(f"{path} loads")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_no_forged_file_takes_much_memory(valid, tmp_path):
    """All that ask for much, in one process: its peak grows by less than 400 MiB."""
    contents = [forge(take_apart(valid)) for forge, _ in HEADERS.values()]
    contents += [forged(valid, change) for change in HOSTILE.values()]
    lists = ",".join(["{}"] * (MAX_HEADER // 4))  # as many as fit: each becomes a dictionary
    parts = take_apart(valid)
    parts.document["training"] = "X"
    text = json.dumps({**parts.document, "sha256": "0" * 64}).replace('"X"', f"[{lists}]")
    header = {"__metadata__": {"aedetect": text}, **parts.table}
    contents.append(sign(with_header(header, parts.body + b"x")))
    paths = [tmp_path / str(number) for number in range(len(contents) + 1)]
    for path, content in zip(paths, [valid, *contents], strict=True):
        path.write_bytes(content)
    with (tmp_path / "sparse").open(
        "wb"
    ) as file:  # half a gigabyte that takes no place on the disk
        file.write(valid)
        file.truncate(2**29)
    paths.append(tmp_path / "sparse")
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, *paths], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert float(result.stdout) < 400


@pytest.mark.parametrize(
    "error", [MemoryError("of 3 GiB"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_short_memory_is_not_taken_for_a_damaged_file(error, valid, tmp_path, monkeypatch):
    def fail(*args):
        raise error

    path = tmp_path / "model.aedetect"
    path.write_bytes(valid)
    monkeypatch.setattr("aedetect.persistence.files.read_arrays", fail)
    with pytest.raises(ModelFileError, match="cannot be loaded: memory is short"):
        load(path)

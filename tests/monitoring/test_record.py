"""A record says how an exam was taken and what was said of it, and nothing of whose it was."""

import json
import math

import numpy as np
import pytest
from pydicom.dataset import Dataset

from benchmarks.drawn_exams import SITE, drawn
from ich_mlflow.dicom.facts import MAX_TEXT, facts_of, plain
from ich_mlflow.monitoring.record import Record, Site, kinds_of, soft_tissue, thumbnail


def test_a_record_comes_back_from_its_line():
    for one in drawn(20, np.random.default_rng(0)):
        back = Record.from_values(json.loads(one.to_line()))
        assert back == one
        assert "\n" not in one.to_line()


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"status": "odd"},
        {"unit": "pixel"},
        {"time": "2026-01-05T08:00:00"},
        {"time": "yesterday"},
        {"probabilities": {"any": 1.5}},
        {"probabilities": {"any": "NaN"}},
    ],
)
def test_a_line_of_something_else_is_no_record(change):
    (one,) = drawn(1, np.random.default_rng(0))
    with pytest.raises(ValueError):
        Record.from_values({**json.loads(one.to_line()), **change})


def test_a_study_is_hashed_with_the_key_of_the_site_alone():
    other = Site(b"another key of another site")
    assert SITE.hashed("1.2.3") == SITE.hashed("1.2.3") != SITE.hashed("1.2.4")
    assert SITE.hashed("1.2.3") != other.hashed("1.2.3")
    assert SITE.name != other.name
    assert SITE.hashed("") == ""
    assert "1.2.3" not in SITE.hashed("1.2.3")


def test_of_warnings_their_kinds_are_kept_and_no_text():
    said = kinds_of(
        [
            "row 3: not like a head CT: 12 % of it is air",
            "not like a head CT: 13 % of it is air",
            "Doe^Jane",
            "read with care: x",
        ]
    )
    assert said == ("not like a head CT", "other", "read with care")


def test_header_texts_are_short_and_plain():
    assert plain("GE MEDICAL; <b>DROP</b> 'x'\n") == "GE MEDICAL bDROP/b x"
    assert len(plain("x" * 100)) == MAX_TEXT
    dataset = Dataset()
    dataset.ConvolutionKernel = ["Hr60f", "3"]
    dataset.Manufacturer = "SIEMENS"
    found = facts_of(dataset, "1.2.840.10008.1.2.1")
    assert (found.kernel, found.manufacturer, found.syntax) == ("Hr60f", "SIEMENS", "1.2.840.10008.1.2.1")


def test_soft_tissue_moves_with_the_scale_and_leaves_air_and_bone_out():
    rng = np.random.default_rng(0)
    slices = [np.rint(rng.normal(33, 4, (64, 64))).astype(np.int16) for _ in range(3)]
    for one in slices:
        one[:20], one[-10:] = -1000, 900
    before = soft_tissue([thumbnail(one) for one in slices])
    after = soft_tissue([thumbnail(one + np.int16(5)) for one in slices])
    assert before == pytest.approx(33, abs=1)
    assert after - before == pytest.approx(5, abs=0.01)
    assert math.isnan(soft_tissue([np.full((4, 4), -1000)]))
    assert math.isnan(soft_tissue([]))

"""The reference that travels in a version: what of it is written, read, and compared."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.drawn_exams import drawn
from ich_mlflow.errors import ModelError
from ich_mlflow.monitoring.reference import as_far_as_known, records_of, reference_text


def test_records_come_back_as_said_by_the_version():
    records = drawn(30, np.random.default_rng(0))
    text = reference_text([replace(one, model_name="", model_version="") for one in records])
    found = records_of(text, model_name="ich-5class", model_version="3")
    # in the order of their probabilities, which says nothing of the set's
    said = sorted((one.probabilities for one in records), key=lambda one: one.get("any", 0.0))
    assert [one.probabilities for one in found] == said
    assert {one.model for one in found} == {"ich-5class/3"}
    assert reference_text([]) == ""


@pytest.mark.parametrize("text", ["{}\n", "no JSON\n", '{"format": 2}\n', "[]\n"])
def test_another_format_is_one_line(text):
    with pytest.raises(ModelError, match="not as this version of ich_mlflow writes it") as refused:
        records_of(text, model_name="m", model_version="1")
    assert "\n" not in str(refused.value)


def test_what_the_reference_does_not_know_is_not_compared():
    one = replace(
        drawn(1, np.random.default_rng(0))[0], kernel="FC26", unusable=2, warnings=("other",), status="review",
        positive=("any",),
    )  # fmt: skip
    empty = replace(one, probabilities={})
    (known,) = as_far_as_known([one, empty])
    assert (known.kernel, known.manufacturer, known.syntax, known.unusable, known.warnings) == (
        "",
        "",
        "",
        0,
        (),
    )
    assert known.status == "flagged"
    assert as_far_as_known([replace(one, positive=())])[0].status == "not flagged"
    assert as_far_as_known([replace(one, status="uncertain")])[0].status == "uncertain"
    assert as_far_as_known([replace(one, positive=(), uncertain=True)])[0].status == "uncertain"

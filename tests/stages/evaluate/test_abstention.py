"""What exams are called, in the evaluation's words and figures."""

from types import SimpleNamespace

import numpy as np

from ich_mlflow.evaluation.abstention import Abstention
from ich_mlflow.evaluation.assess import Predictions
from ich_mlflow.stages.evaluate.abstention import abstention_section, called_of, log_abstention

RULE = Abstention(alpha=0.05, clear_below=0.3, bleeding_patients=20, far_from=2.0, patients=40)


def scored(rule, distances=None):
    """Exams flagged, uncertain, clear and missed, clear and right: of any, by thresholds of .5 on probabilities."""
    exams = Predictions(
        labels=("subdural", "any"),
        targets=np.array([[1, 1], [1, 1], [0, 1], [0, 0]], bool),
        probabilities=np.array([[0.9, 0.8], [0.1, 0.2], [0.1, 0.1], [0.1, 0.1]]),
        thresholds=np.array([0.5, 0.5]),
        patients=np.array(["a", "b", "c", "d"]),
        scores=np.array([[0.9, 0.9], [0.1, 0.4], [0.1, 0.2], [0.1, 0.1]]),
    )
    return SimpleNamespace(specification=SimpleNamespace(abstention=rule), exams=exams, distances=distances)


class Logged:
    def __init__(self):
        self.values = {}

    def metrics(self, values):
        self.values |= values


def test_exams_are_counted_by_what_they_are_called():
    run, exams = Logged(), scored(RULE)
    log_abstention(run, exams)
    assert run.values == {"test/exam/uncertain_share": 0.25, "test/exam/bleeds_called_clear": 1 / 3}
    (table,) = abstention_section(exams).tables
    assert [row[1:] for row in table.rows] == [["1", "0"], ["1", "0"], ["1", "1"], ["0", "0"]]
    assert table.note.startswith("1 of 3, 0.33 (")
    assert "about 5 % at most" in table.note


def test_far_exams_are_unlike_whether_flagged_or_not():
    _, found = called_of(scored(RULE, distances=np.array([3.0, 1.0, 1.0, 3.0])))
    assert found.unlike.tolist() == [True, False, False, True]
    assert found.uncertain.tolist() == [False, True, False, True]


def test_a_version_without_says_so_and_logs_nothing():
    run = Logged()
    log_abstention(run, scored(None))
    assert run.values == {}
    assert "packed without abstention" in abstention_section(scored(None)).paragraphs[0]
    lacking = abstention_section(scored(Abstention(alpha=0.05, bleeding_patients=4)))
    assert any(
        text.startswith("No exam is uncertain by its score: to promise 5 %") for text in lacking.paragraphs
    )
    assert any("which a slice CNN gets" in text for text in lacking.paragraphs)

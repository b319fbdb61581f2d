"""What a version said of its validation exams, from a stored set."""

import numpy as np

from ich_mlflow.evaluation.abstention import Abstention
from ich_mlflow.labels import class_scheme
from ich_mlflow.monitoring.reference import records_of
from ich_mlflow.stages.common.reference import reference_of
from ich_mlflow.stages.common.specification import from_validation


def test_a_record_an_exam_without_whose_it_is(stored_set):
    rows, scheme = stored_set.rows("validation"), class_scheme(5)
    outputs = np.random.default_rng(0).random((len(rows), 5))
    found = from_validation(
        stored_set, outputs, scheme, calibration="none", rule="max_f1", series_smoothing="none"
    )
    exams = found.exam_predictions
    text = reference_of(
        stored_set,
        found.study_uids,
        exams,
        rule="max_f1",
        abstention=Abstention(alpha=0.05, far_from=2.0, patients=40),
        distances=np.where(np.arange(len(exams.targets)) == 0, 3.0, 1.0),
    )
    records = records_of(text, model_name="m", model_version="1")
    assert len(records) == len(exams.targets) == len(set(found.study_uids))
    order = np.argsort([round(float(one), 5) for one in exams.probabilities[:, -1]], kind="stable")
    for one, probabilities in zip(records, exams.probabilities[order], strict=True):
        assert list(one.probabilities) == list(scheme.findings)
        assert one.probabilities["any"] == round(float(probabilities[-1]), 5)
        assert (one.study, one.site, one.unit) == ("", "validation", "exam")
        assert one.slices == 4
        assert one.status != "uncertain" or one.distance == 3.0
    flagged = exams.probabilities[order, -1] >= exams.thresholds[-1]
    assert [one.status == "flagged" for one in records] == flagged.tolist()
    far = records[order.tolist().index(0)]
    assert far.distance == 3.0
    assert far.status == ("flagged" if flagged[order.tolist().index(0)] else "uncertain")
    table = stored_set.table
    for name in ("patient_id", "study_uid", "series_uid", "sop_uid"):
        if name in table:
            assert not any(str(value) in text for value in table[name].unique() if len(str(value)) > 4)


def test_of_many_exams_some_travel_evenly_taken(stored_set, monkeypatch):
    monkeypatch.setattr("ich_mlflow.stages.common.reference.MAX_EXAMS", 2)
    rows = stored_set.rows("validation")
    outputs = np.random.default_rng(0).random((len(rows), 5))
    found = from_validation(stored_set, outputs, class_scheme(5), calibration="none", rule="max_f1")
    text = reference_of(stored_set, found.study_uids, found.exam_predictions, rule="max_f1")
    count = len(found.study_uids)
    assert text.count("\n") == -(-count // -(-count // 2)) <= 2

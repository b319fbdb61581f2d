import json

import pytest

from tests.adding.page import python, walked

# Ten patients with two slices each, one positive (.9) and one negative (.1); of two patients the positive slice got .2,
# of one the negative slice .8. At one half: sensitivity 8/10, specificity 9/10.
CODE = """
import json
import numpy as np
from ich_mlflow.evaluation.assess import Predictions, assess, difference
from ich_mlflow.report.contents import Report, Section
from ich_mlflow.report.render import report_html
from ich_mlflow.evaluation.logged import logged
from ich_mlflow.stages.evaluate.tables import decision_table, difference_table

probabilities = np.tile([0.9, 0.1], 10)
probabilities[[0, 2]], probabilities[5] = 0.2, 0.8
model = Predictions(
    labels=("subdural",),
    targets=np.tile([True, False], 10)[:, None],
    probabilities=probabilities[:, None],
    thresholds=np.array([0.5]),
    patients=np.repeat(np.arange(10), 2),
)
assessment = assess(model, num_resamples=200)
decisions = decision_table(assessment, rule="max_f1")
differences = difference_table(difference(model, model, num_resamples=50), unit="slices")
report = Report(
    title="", subtitle="", notice="", headline=[], command="", made_by="", limits=[],
    sections=[Section(anchor="results", title="Results", tables=[decisions, differences])],
)
print(json.dumps({
    "metrics": logged(model.metrics(), "test", unit="slices"),
    "values": assessment.values,
    "low": {name: assessment.interval(name).low for name in assessment.values},
    "high": {name: assessment.interval(name).high for name in assessment.values},
    "columns": list(decisions.columns),
    "row": list(decisions.rows[0]),
    "differences": [row[0] for row in differences.rows],
    "html": report_html(report),
}))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    return json.loads(python(walked("metric.md", tmp_path_factory.mktemp("metric")), CODE))


def test_the_metric_of_the_page_is_computed_and_logged(told):
    for mean in ("subdural", "macro", "micro"):
        assert told["values"][f"balanced_accuracy/{mean}"] == pytest.approx((0.8 + 0.9) / 2)
    assert told["metrics"]["test/balanced_accuracy/macro"] == pytest.approx((0.8 + 0.9) / 2)


def test_it_has_an_interval_by_patient(told):
    for mean in ("subdural", "macro", "micro"):
        low, high = (told[end][f"balanced_accuracy/{mean}"] for end in ("low", "high"))
        assert 0.6 < low < 0.85 < high <= 1


def test_it_is_a_column_of_the_report_and_a_row_of_the_comparison(told):
    value = told["row"][told["columns"].index("balanced accuracy")]
    assert value.startswith("0.85 (0.")
    assert "balanced accuracy subdural" in told["differences"]
    assert "balanced accuracy" in told["html"]
    assert value in told["html"]

from dataclasses import replace

import numpy as np

from ich_mlflow.evaluation.assess import Predictions, assess
from ich_mlflow.stages.evaluate.tables import decision_table, probability_table, ranking_table


def test_decisions_and_probabilities_stand_beside_what_does_not_look():
    model = Predictions(
        labels=("subdural",),
        targets=np.array([[True], [True], [False], [False]]),
        probabilities=np.array([[0.9], [0.8], [0.2], [0.1]]),
        thresholds=np.array([0.5]),
        patients=np.array(["a", "b", "c", "d"]),
    )
    null = replace(model, probabilities=np.full((4, 1), 0.5))
    assessment = assess(model, null_models={"prevalence": null}, num_resamples=100)
    # counts are whole: two positive slices of two patients
    assert ranking_table(assessment).rows[0][:3] == ["subdural", "2", "2"]
    # one half everywhere is positive everywhere: half of it right, F1 2 * 2 / (2 + 4), squared error a quarter
    assert decision_table(assessment, rule="max_f1").rows[-1] == [
        "macro of prevalence alone", "0.67", "1.00", "0.00", "0.50", "not estimable",
    ]  # fmt: skip
    assert probability_table(assessment).rows[-1] == [
        "macro of prevalence alone", "0.250", "0.000", "0.693", "", "", "0.000",
    ]  # fmt: skip

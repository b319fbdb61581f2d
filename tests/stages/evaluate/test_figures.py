import numpy as np

from ich_mlflow.stages.evaluate.figures import _worst


def test_the_worst_slice_of_each_patient_comes_before_the_second_of_any():
    wrong = np.array([[True], [True], [True], [False], [True], [True]])
    badness = np.array([[0.1], [0.2], [0.3], [0.0], [0.4], [0.5]])
    patients = np.array(["a", "a", "a", "a", "b", "c"])
    # a's worst, then b's and c's, and only then a's second; the right decision never
    assert _worst(wrong, badness, patients) == [(0, 0), (4, 0), (5, 0), (1, 0)]

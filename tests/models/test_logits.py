import numpy as np
import pytest

from ich_mlflow.models.logits import mean_of_logits


def test_two_views_are_averaged_in_log_odds():
    # odds of 1 and 9: their geometric mean is 3
    assert mean_of_logits(np.array([[0.5]]), np.array([[0.9]]))[0, 0] == pytest.approx(0.75)

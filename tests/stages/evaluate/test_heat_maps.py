import numpy as np

from ich_mlflow.evaluation.pointing import Pointed
from ich_mlflow.stages.evaluate.heat_maps import _counted


def test_slices_that_are_only_shown_do_not_count():
    # two hits among the four of the even choice; the surest slice, shown beside them, is a third
    pointed = Pointed(
        peaks=np.zeros((5, 2)),
        hits=np.array([True, False, True, True, False]),
        chance=np.array([0.2, 0.2, 1.0, 0.4, 0.4]),
        tolerance=1,
    )
    counted = _counted("subdural", pointed, np.array([True, True, False, True, True]))
    assert (counted["slices"], counted["hits"], counted["rate"]) == (4, 2, 0.5)
    assert np.isclose(counted["chance"], 0.3)

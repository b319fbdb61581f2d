import numpy as np

from ich_mlflow.models.slice_cnn.reader import in_context


def test_the_last_slices_of_a_series_are_their_own_neighbours():
    assert in_context(np.array([7, 3, 5]), 1).tolist() == [[7, 7, 3], [7, 3, 5], [3, 5, 5]]
    assert in_context(np.array([7, 3]), 0).tolist() == [7, 3]

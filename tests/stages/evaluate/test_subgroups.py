import pandas as pd

from ich_mlflow.stages.evaluate.subgroups import _steps


def test_the_step_of_a_series_is_the_median_between_neighbours_in_half_millimetres():
    table = pd.DataFrame(
        {
            # steps of a: 4.9, 5.1 and a gap of 10; b stands in no order and has steps of 1.2; c is alone
            "series_uid": ["a", "a", "a", "a", "b", "b", "b", "c"],
            "position_mm": [0.0, 4.9, 10.0, 20.0, 2.4, 0.0, 1.2, 7.0],
        }
    )
    assert _steps(table).tolist() == ["5 mm"] * 4 + ["1 mm"] * 3 + [""]

from ich_mlflow.system.counting import counted


def test_none_one_and_many():
    assert [counted(number, "slice") for number in (0, 1, 2000)] == ["0 slices", "1 slice", "2,000 slices"]
    assert [counted(number, "study", "studies") for number in (1, 2)] == ["1 study", "2 studies"]

import pandas as pd
import pytest

from ich_mlflow.dataset.quarantine import Quarantine
from ich_mlflow.errors import QuarantineError
from ich_mlflow.sources.base import Quarantined


def bad(name, reason="truncated") -> Quarantined:
    return Quarantined(file=name, reason=reason, tag="PixelData", detail=f"{name} is bad")


def test_up_to_the_limit_is_allowed_and_one_more_is_not():
    quarantine = Quarantine(num_slices=200, limit=0.01, strict=False)
    quarantine.add([bad("a"), bad("b")])
    with pytest.raises(QuarantineError, match=r"3 of 200.*quarantine_limit 0\.01"):
        quarantine.add([bad("c")])


def test_a_limit_of_nothing_refuses_one_and_of_all_refuses_none():
    Quarantine(num_slices=2, limit=1, strict=False).add([bad("a"), bad("b")])
    with pytest.raises(QuarantineError):
        Quarantine(num_slices=2, limit=0, strict=False).add([bad("a")])


def test_counts_go_by_reason_most_frequent_first_then_by_name():
    quarantine = Quarantine(num_slices=10, limit=1, strict=False)
    quarantine.add([bad("a", "not_ct"), bad("b"), bad("c"), bad("d", "constant")])
    assert list(quarantine.counts().items()) == [("truncated", 2), ("constant", 1), ("not_ct", 1)]


def test_the_list_is_written_by_file_whatever_the_order_of_finding(tmp_path):
    quarantine = Quarantine(num_slices=10, limit=1, strict=False)
    quarantine.add([bad("b"), bad('a, "the first"')])
    quarantine.write(tmp_path / "list.csv")
    table = pd.read_csv(tmp_path / "list.csv")
    assert list(table.columns) == ["file", "reason", "tag", "detail"]
    assert table["file"].tolist() == ['a, "the first"', "b"]


def test_an_empty_list_has_its_header(tmp_path):
    Quarantine(num_slices=10, limit=1, strict=False).write(tmp_path / "list.csv")
    assert (tmp_path / "list.csv").read_text() == "file,reason,tag,detail\n"

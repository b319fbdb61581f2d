import pytest

from ich_mlflow.dataset.drawn import DrawnSource
from ich_mlflow.errors import DataError, OptionError
from ich_mlflow.sources.cq500 import Cq500Source
from ich_mlflow.sources.ctich import CtIchSource
from ich_mlflow.sources.phantom import PhantomSource
from ich_mlflow.sources.registry import LABELLED, SOURCES, TRAINABLE, open_source
from ich_mlflow.sources.rsna import RsnaSource, RsnaTestSource
from ich_mlflow.sources.table import TableSource

KINDS = {
    "rsna": RsnaSource,
    "ctich": CtIchSource,
    "phantom": PhantomSource,
    "cq500": Cq500Source,
    "table": TableSource,
    "rsna-test": RsnaTestSource,
    "drawn": DrawnSource,
}


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_a_source_is_opened_by_name(tmp_path, name, kind):
    (tmp_path / "anything").touch()
    source = open_source(name, tmp_path)
    assert type(source) is kind
    assert source.name == name


@pytest.mark.parametrize("name", sorted(SOURCES.keys() - {"table"}))
def test_the_table_says_what_the_sources_say_of_their_names_and_labels(tmp_path, name):
    (tmp_path / "anything").touch()
    source = open_source(name, tmp_path)
    assert (source.name, source.label_level) == (name, SOURCES[name].label_level)
    assert source.overlap


def test_a_hospitals_own_table_says_what_its_labels_are_of_and_is_taken_as_a_file_too(tmp_path):
    assert SOURCES["table"].label_level == "either"
    header = "epidural,intraparenchymal,intraventricular,subarachnoid,subdural"
    for name, level in (("file", "slice"), ("study", "study")):
        table = tmp_path / f"{name}.csv"
        table.write_text(f"{name},{header}\na,0,0,0,0,0\n")
        assert open_source("table", table).label_level == level
    with pytest.raises(DataError, match=r"rsna folder .* does not exist"):
        open_source("rsna", table)


def test_phantoms_and_a_hospitals_own_labels_come_with_a_caveat():
    caveats = {name: record.caveat for name, record in SOURCES.items() if record.caveat}
    assert list(caveats) == ["phantom", "table"]
    assert caveats["phantom"].endswith("Nothing here holds for patients.")


def test_only_labels_of_slices_can_be_trained_on():
    assert {"rsna", "ctich", "phantom", "table"} <= set(TRAINABLE)  # table: where a row is a slice
    assert not {"cq500", "rsna-test", "drawn"} & set(TRAINABLE)
    assert "drawn" not in LABELLED  # drawn blood is trained on beside real heads, and scores nobody


def test_a_source_says_whether_it_overlaps_rsna():
    assert {name: kind.overlap for name, kind in KINDS.items()} == {
        "rsna": "is RSNA 2019",
        "ctich": "independent of RSNA 2019 (Al Hilla Teaching Hospital, Iraq)",
        "phantom": "made by this project, no patient",
        "cq500": "independent of RSNA 2019 (Centre for Advanced Research in Imaging, New Delhi)",
        "table": "a hospital's own exams; whether RSNA 2019 has some of its patients is not known here",
        "rsna-test": "is the stage 2 test set of RSNA 2019 itself, without labels",
        "drawn": "its heads are of the stored set that it was drawn into",
    }


def test_an_unknown_source_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(OptionError, match="'kaggle', expected one of rsna, ctich, phantom"):
        open_source("kaggle", tmp_path)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        open_source("rsna", tmp_path / "absent")


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="is empty"):
        open_source("phantom", tmp_path)

import pytest

from ich_mlflow.errors import DataError, OptionError
from ich_mlflow.sources.ctich import CtIchSource
from ich_mlflow.sources.registry import open_source
from ich_mlflow.sources.rsna import RsnaSource


@pytest.mark.parametrize(("name", "kind"), [("rsna", RsnaSource), ("ctich", CtIchSource)])
def test_a_source_is_opened_by_name(tmp_path, name, kind):
    (tmp_path / "anything").touch()
    source = open_source(name, tmp_path)
    assert isinstance(source, kind)
    assert source.name == name


def test_an_unknown_source_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(OptionError, match="'kaggle', expected one of rsna, ctich, phantom"):
        open_source("kaggle", tmp_path)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        open_source("rsna", tmp_path / "absent")


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="is empty"):
        open_source("phantom", tmp_path)

import mlflow
import pytest

from ich_mlflow.errors import ModelError
from ich_mlflow.stages.common.names import MODEL_NAMES, is_of_phantoms, num_classes_of, registered_name
from ich_mlflow.stages.common.scoring import champion_name


@pytest.mark.parametrize(
    ("num_classes", "source", "expected"),
    [
        (5, "rsna", "ich-5class"),
        (4, "", "ich-4class"),
        (5, "phantom", "ich-5class-phantom"),
        (6, "phantom", "ich-6class-phantom"),
    ],
)
def test_a_name_says_the_classes_and_whether_it_is_of_phantoms(num_classes, source, expected):
    assert registered_name(num_classes, source) == expected
    assert (num_classes_of(expected), is_of_phantoms(expected)) == (num_classes, source == "phantom")


def test_real_names_stand_before_those_of_phantoms():
    assert MODEL_NAMES == (
        "ich-5class", "ich-4class", "ich-6class", "ich-5class-phantom", "ich-4class-phantom", "ich-6class-phantom",
    )  # fmt: skip
    with pytest.raises(ValueError, match="expected one of ich-5class"):
        num_classes_of("ich-7class")


@pytest.fixture
def crown(workspace):
    """Make a version of a name champion, of data of that source; gone after the test."""
    client = mlflow.MlflowClient()

    def crowned(name, source):
        client.create_registered_model(name)
        version = client.create_model_version(name, source=str(workspace), tags={"ich.data.source": source})
        client.set_registered_model_alias(name, "champion", version.version)

    for model in client.search_registered_models():
        client.delete_registered_model(model.name)
    yield crowned
    for model in client.search_registered_models():
        client.delete_registered_model(model.name)


def test_a_champion_of_phantoms_stands_in_only_where_there_is_no_other_and_it_is_said(crown, capsys):
    with pytest.raises(ModelError, match="the registry has no champion"):
        champion_name()
    crown("ich-5class-phantom", "phantom")
    assert champion_name() == "ich-5class-phantom@champion"
    assert capsys.readouterr().out == (
        "note: ich-5class-phantom@champion learned from phantoms, and there is no champion that did not\n"
    )
    crown("ich-6class", "rsna")
    assert champion_name() == "ich-6class@champion"
    assert capsys.readouterr().out == ""


def test_a_champion_from_before_phantoms_had_a_name_is_known_by_its_data(crown, capsys):
    crown("ich-5class", "phantom")
    crown("ich-4class", "rsna")
    assert champion_name() == "ich-4class@champion"

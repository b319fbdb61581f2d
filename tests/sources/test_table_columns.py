import pytest

from ich_mlflow.errors import DataError, OptionError
from ich_mlflow.labels import SUBTYPES
from ich_mlflow.sources.table_columns import find_columns, parse_columns

SHORT = ["EDH", "IPH", "IVH", "SAH", "SDH"]


def found(header, said="auto"):
    return {name: header[place] for name, place in find_columns("t.csv", header, parse_columns(said)).items()}


def refusal(header, said="auto"):
    with pytest.raises(DataError) as caught:
        found(header, said)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_columns_are_said_by_pairs():
    assert parse_columns("auto") == {}
    assert parse_columns("file=path, epidural=EDH (l/r)=1") == {"file": "path", "epidural": "EDH (l/r)=1"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epidurl=EDH", "and not 'epidurl=EDH' (did you mean epidural?)"),
        ("file", "and not 'file': pass -P columns=file=path"),
        ("file=", "and not 'file='"),
        ("file=a,file=b", "expected file once"),
        ("file=a,study=b", "expected file or study: a row is either a slice or an exam"),
        ("epidural=EDH,subdural=EDH", "expected a column of its own for each label"),
    ],
)
def test_pairs_that_cannot_be_meant_are_refused(text, said):
    with pytest.raises(OptionError) as caught:
        parse_columns(text)
    assert said in str(caught.value)
    assert f"columns is {text!r}" in str(caught.value)


@pytest.mark.parametrize(
    "labels",
    [
        SHORT,
        ["edh", "iph", "ivh", "sah", "sdh"],
        ["Epidural", "Intracerebral", "Intraventricular", "Subarachnoid", "Subdural"],
        ["Extradural_Haematoma", "Intraparenchymal hemorrhage", "IVH", "SAH bleed", "subdural-bleeding"],
    ],
)
def test_usual_spellings_are_known(labels):
    header = ["Notes", "File Path", "Patient ID", *labels, "Any"]
    expected = dict(zip(SUBTYPES, labels, strict=True))
    assert found(header) == {"file": "File Path", "patient": "Patient ID", **expected, "any": "Any"}


def test_what_is_said_goes_before_spellings_and_takes_its_column_from_them():
    header = ["path", "mrn", "patient", "bleed", *SHORT]
    # patient is the name of another column, which is not looked at
    assert found(header, "patient=MRN,any=bleed,file=path")["patient"] == "mrn"
    assert found(["file", "path", *SHORT], "patient=file")["file"] == "path"


def test_an_own_name_goes_before_a_spelling():
    assert found(["image", "file", *SHORT])["file"] == "file"
    assert (
        "t.csv has 2 columns that may be file, image and path, expected one: pass -P columns=file="
        in refusal(["image", "path", *SHORT])
    )


@pytest.mark.parametrize(
    ("header", "said", "row_is"),
    [
        (["file", "StudyInstanceUID"], "auto", "file"),
        (["path", "StudyInstanceUID"], "auto", "file"),
        (["path", "study"], "auto", "study"),
        (["file", "study"], "auto", "file"),
        (["file", "study"], "study=study", "study"),
        (["path", "study"], "file=path", "file"),
    ],
)
def test_a_table_with_files_and_studies_has_a_row_a_file_unless_it_is_said_or_named_otherwise(
    header, said, row_is
):
    assert {"file", "study"} & found([*header, *SHORT], said).keys() == {row_is}


def test_a_missing_column_is_named_with_the_most_similar():
    message = refusal(["file", "EDH", "IPH", "IVH", "SAH", "subdurl"])
    assert "t.csv has no column subdural (did you mean subdurl?) among 'file', 'EDH', " in message
    assert message.endswith("add it, or pass -P columns=subdural=<its column>")
    assert refusal(["a", *SHORT[:4]]).endswith("columns=file=<its column>,subdural=<its column>")
    message = refusal(["file", *SHORT], "patient=MNR")
    assert "t.csv has no column 'MNR', which columns= says is patient, expected one of 'file', " in message
    assert "'EDHH', which columns= says is epidural, expected one of 'file', 'EDH'" in refusal(
        ["file", *SHORT], "epidural=EDHH"
    )


def test_ich_is_any_to_some_and_intracerebral_to_others_so_it_is_asked_for():
    header = ["file", "EDH", "ICH", "IVH", "SAH", "SDH"]
    assert refusal(header).endswith("(ICH may be any or intraparenchymal: say which)")
    assert found(header, "intraparenchymal=ICH")["intraparenchymal"] == "ICH"
    assert "any" not in found(["file", *SHORT, "ICH"])


def test_of_a_wide_table_some_columns_are_told():
    assert "'c11' and 38 more" in refusal([f"c{number}" for number in range(50)])

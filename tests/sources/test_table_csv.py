import pytest

from ich_mlflow.errors import DataError
from ich_mlflow.sources.table_csv import read_text_table

WANTED = (("a", "b, c"), ((2, ("1", "ü")), (4, ("2", ""))))


def read(data):
    table = read_text_table("t.csv", data)
    return table.columns, table.rows


def refusal(data):
    with pytest.raises(DataError) as caught:
        read(data)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        'a,"b, c"\n1,ü\n\n2,\n',
        'a,"b, c"\r\n1, ü \r\n,\r\n2,\r\n',
        "a;b, c\n1;ü\n\n2;",
        "a\tb, c\n1\tü\n\n2\t",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_delimiters_line_ends_and_marks_are_told_by_the_table(text, encoding):
    assert read(text.encode(encoding)) == WANTED


def test_a_break_within_a_cell_is_a_blank():
    assert read(b'"epidural\nhaematoma",b\n1,2\n') == (("epidural haematoma", "b"), ((3, ("1", "2")),))


def test_what_is_no_table_is_refused_with_its_line():
    assert refusal(b"\n \n").startswith("t.csv is empty, expected a line with the columns' names")
    assert "(it is a workbook), expected text: save it again as CSV UTF-8" in refusal(b"PK\x03\x04")
    assert (
        "t.csv, line 2 can't be read (invalid start byte at byte 4), expected text in UTF-8: save"
        in refusal(b"a,b\n\xfc,1\n")
    )
    assert "t.csv, line 2 can't be read as a row (" in refusal(b'a,b\n"1"x,2\n')


def test_rows_of_another_length_are_told_three_at_most():
    message = refusal(b"a;b\n1;2;3\n1;2\n1\n1\n1\n1\n")
    assert message.startswith(
        "t.csv, line 2 has 3 columns, expected the 2 of the first line: put a text with semicolons in quotes; line 4 "
    )
    assert message.endswith("; and 2 faults more")

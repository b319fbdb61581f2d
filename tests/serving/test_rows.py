import base64

import numpy as np
import pandas as pd
import pytest

from ich_mlflow.serving.refusal import Refusal
from ich_mlflow.serving.rows import Fault, Row, read_rows, series_of, unpacked, with_context
from tests.factories import write_dicom

HU = np.random.default_rng(5).integers(-1000, 900, (64, 64)).tolist()


@pytest.fixture
def encoded(tmp_path):
    def encode(change=lambda dataset: None, values=None):
        values = np.arange(64 * 64).reshape(64, 64) if values is None else values
        return base64.b64encode(
            write_dicom(tmp_path / "one.dcm", values, change=change).read_bytes()
        ).decode()

    return encode


def _rows(**columns):
    return read_rows(pd.DataFrame(columns))


def _row(number, *, series="", position=0.0):
    hu = np.full((256, 256), number, np.int16)
    return Row(hu=hu, series=series, study=series, position_mm=position, warnings=())


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"dicom": ["!"]}, "row 0: dicom is not base64"),
        ({"dicom": ["QUJD\nQUJ!"]}, "row 0: dicom is not base64"),
        ({"dicom": ["\u00e9AAA"]}, "row 0: dicom is not base64"),
        ({"dicom": [7]}, "row 0: dicom is not text"),
        ({"dicom": ["AAAA"]}, "row 0 is not a readable DICOM file"),
        ({"dicom": [None]}, "row 0: has neither dicom nor pixels"),
        ({"dicom": [""], "pixels": [None]}, "row 0: has neither dicom nor pixels"),
        ({"other": ["x"]}, "row 0: has neither dicom nor pixels"),
        ({"dicom": ["AAAA"], "pixels": [HU]}, "row 0: has both dicom and pixels"),
        ({"pixels": [[[1, 2], [3]]]}, "row 0: pixels is not a list of equally long lists of numbers"),
        ({"pixels": [[[1, "x"], [3, 4]]]}, "row 0: pixels is not a list of equally long lists"),
        ({"pixels": ["words"]}, "row 0: pixels is not a list of equally long lists"),
        ({"pixels": [{"a": 1}]}, "row 0: pixels is not a list of equally long lists"),
        ({"pixels": [[HU]]}, "row 0: pixels is not a list of equally long lists"),
        ({"pixels": [[[1] * 31] * 31]}, "row 0: pixels has a side that is not of 32 to 4096 pixels"),
        ({"pixels": [[[1] * 5000] * 32]}, "row 0: pixels has a side that is not of 32 to 4096 pixels"),
        ({"pixels": [[[float("nan")] * 32] * 32]}, "row 0: pixels holds NaN or infinity"),
        ({"pixels": [[[float("inf")] * 32] * 32]}, "row 0: pixels holds NaN or infinity"),
        ({"pixels": [[[32768] * 32] * 32]}, "row 0: pixels holds numbers beyond 32767"),
        ({"pixels": [[[10**400] * 32] * 32]}, "row 0: pixels is not a list of equally long lists"),
        ({"pixels": [HU], "spacing_mm": [[1]]}, "row 0: spacing_mm is not two numbers"),
        ({"pixels": [HU], "spacing_mm": ["ab"]}, "row 0: spacing_mm is not two numbers"),
        ({"pixels": [HU], "spacing_mm": [[0, 1]]}, "row 0: spacing_mm is not two numbers above 0"),
        ({"pixels": [HU], "series": [3]}, "row 0: series is not text"),
        ({"pixels": [HU], "position_mm": ["up"]}, "row 0: position_mm is not a number"),
    ],
)
def test_a_row_that_can_not_be_used_is_a_line_that_names_it(columns, said):
    (fault,) = _rows(**columns)
    assert isinstance(fault, Fault)
    assert fault.line.startswith(said)
    assert "\n" not in fault.line


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: setattr(d, "Modality", "MR"), "row 0 has a Modality other than CT"),
        (lambda d: setattr(d, "PixelData", d.PixelData[:-2]), "row 0 has 8190 bytes of PixelData"),
        (lambda d: setattr(d, "Rows", 5000), "row 0 has Rows 5000"),
        (lambda d: delattr(d, "RescaleSlope"), "row 0"),
        (lambda d: setattr(d, "NumberOfFrames", 2), "row 0 has NumberOfFrames 2"),
    ],
)
def test_a_dicom_file_of_something_else_is_a_line_that_names_its_row(encoded, change, said):
    (fault,) = _rows(dicom=[encoded(change)])
    assert fault.line.startswith(said)


def test_no_line_repeats_who_the_patient_is(encoded):
    def change(dataset):
        dataset.PatientName, dataset.PatientID, dataset.Modality = "DOE^JANE", "4711", "MR"

    (fault,) = _rows(dicom=[encoded(change)])
    assert "DOE" not in fault.line
    assert "4711" not in fault.line


def test_a_file_beyond_the_limit_is_not_even_decoded():
    (fault,) = _rows(dicom=["A" * (90 * 2**20)])
    assert fault.line == "row 0: dicom is longer than 64 MiB, expected one CT image"


def test_good_rows_beside_bad_ones_are_read(encoded):
    bad, dicom, pixels = _rows(dicom=["!", encoded(), None], pixels=[None, None, HU])
    assert isinstance(bad, Fault)
    assert dicom.hu.shape == pixels.hu.shape == (256, 256)
    assert (dicom.series, dicom.study, dicom.position_mm) == ("ID_cccccccccc", "ID_bbbbbbbbbb", 40.0)


def test_pixels_are_what_the_same_dicom_would_be(encoded):
    values = np.random.default_rng(1).integers(0, 2000, (64, 64))
    from_dicom, from_pixels = _rows(
        dicom=[encoded(values=values), None], pixels=[None, (values - 1024).tolist()]
    )
    np.testing.assert_array_equal(from_dicom.hu, from_pixels.hu)


def test_what_makes_a_slice_doubtful_is_said_of_it(encoded):
    def change(dataset):
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
        dataset.ContrastBolusAgent = "OMNIPAQUE"
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]

    warnings = "; ".join(_rows(dicom=[encoded(change)])[0].warnings)
    for said in ("a localiser", "with contrast agent", "not an axial slice", "field of view", "not square"):
        assert said in warnings
    assert "OMNIPAQUE" not in warnings


def test_rows_of_a_series_are_each_others_neighbours_whatever_their_order():
    rows = [_row(3, series="a", position=30), _row(1, series="a", position=10), _row(9, series="b"),
            _row(2, series="a", position=20), _row(7)]  # fmt: skip
    channels = with_context(rows, 1)[:, 0, 0]
    assert channels.tolist() == [[2, 3, 3], [1, 1, 2], [9, 9, 9], [1, 2, 3], [7, 7, 7]]


def test_without_context_a_slice_is_one_channel():
    assert with_context([_row(1, series="a"), _row(2, series="a")], 0).shape == (2, 256, 256, 1)


def test_rows_without_a_series_are_alone():
    assert [members.tolist() for members in series_of([_row(1), _row(2), _row(3, series="a")])] == [
        [0],
        [1],
        [2],
    ]


def test_a_dictionary_of_lists_is_a_row_each():
    """As MLflow hands over what `predict` of a loaded model was given."""
    pixels = [[[0.0] * 40] * 40, [[1.0] * 40] * 40]
    frame = unpacked(
        pd.DataFrame([{"pixels": pixels, "spacing_mm": [[0.5, 0.5], [0.6, 0.6]], "series": "a"}])
    )
    assert frame["pixels"].tolist() == pixels
    assert frame["spacing_mm"].tolist() == [[0.5, 0.5], [0.6, 0.6]]
    assert frame["series"].tolist() == ["a", "a"]
    assert unpacked(pd.DataFrame([{"dicom": ["x", "y"]}]))["dicom"].tolist() == ["x", "y"]


def test_a_slice_stays_one_row():
    for one in ({"pixels": [[0.0] * 40] * 40, "spacing_mm": [0.5, 0.5]}, {"dicom": "x"}, {"dicom": None}):
        frame = pd.DataFrame([one])
        assert unpacked(frame) is frame
    two = pd.DataFrame({"dicom": ["x", "y"]})
    assert unpacked(two) is two


def test_lists_of_other_lengths_are_refused():
    with pytest.raises(Refusal, match=r"the lists differ in length \(dicom 2, position_mm 3\)"):
        unpacked(pd.DataFrame([{"dicom": ["x", "y"], "position_mm": [1.0, 2.0, 3.0]}]))

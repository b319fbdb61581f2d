import numpy as np
import pytest

from ich_mlflow.dicom.slice import read_slice
from ich_mlflow.dicom.write import Encoding, Identity, write_slice

IDENTITY = Identity(
    sop_uid="ID_0123456789abcdef"[:12],
    patient_id="ID_00000001",
    study_uid="ID_0000000001",
    series_uid="ID_0000000002",
    position=(-120.0, -110.0, 35.5),
    orientation=(1, 0, 0, 0, 1, 0),
    pixel_spacing_mm=(0.5, 0.4),
)


@pytest.mark.parametrize("implicit_vr", [True, False])
@pytest.mark.parametrize(
    ("bits", "signed", "intercept", "kept"),
    [(16, True, -1024, -1024), (12, False, -1024, -1024), (12, False, -1000, -1000)],
)
def test_what_is_written_is_read_back_to_the_hu(tmp_path, bits, signed, intercept, kept, implicit_vr):
    hu = np.array([[-1024, -1000], [40, 3000]], np.int16)
    encoding = Encoding(bits_stored=bits, signed=signed, intercept=intercept, implicit_vr=implicit_vr)
    write_slice(tmp_path / "a.dcm", hu, IDENTITY, encoding)
    read = read_slice(tmp_path / "a.dcm")
    np.testing.assert_array_equal(read.hu, np.maximum(hu, kept))
    assert read.sop_uid == IDENTITY.sop_uid
    assert read.pixel_spacing_mm == (0.5, 0.4)
    assert read.position_mm == pytest.approx(35.5)


def test_padding_of_a_signed_file_is_clipped_when_read(tmp_path):
    write_slice(tmp_path / "a.dcm", np.array([[-3024, 0]], np.int16), IDENTITY, Encoding())
    np.testing.assert_array_equal(read_slice(tmp_path / "a.dcm").hu, [[-1024, 0]])

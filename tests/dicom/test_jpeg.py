import io

import numpy as np
import pytest
from imagecodecs import jpeg8_encode
from PIL import Image

from benchmarks.decode import broken, sound_codestreams
from ich_mlflow.dicom.codestream import start_of_frame
from ich_mlflow.dicom.jpeg import decode_jpeg
from ich_mlflow.dicom.slice import read_slice
from ich_mlflow.dicom.write import Encoding, hu_range, write_slice
from tests.dicom.test_write import IDENTITY


@pytest.mark.parametrize("shape", [(64, 48), (63, 47), (1, 9)])
@pytest.mark.parametrize("bits", range(8, 17))
def test_every_predictor_and_precision_gives_the_values_that_were_encoded(bits, shape):
    values = np.random.default_rng(bits).integers(0, 2**bits, size=shape)
    values = values.astype(np.uint8 if bits == 8 else np.uint16)
    for predictor in range(1, 8):
        codestream = jpeg8_encode(values, lossless=True, predictor=predictor, bitspersample=bits)
        np.testing.assert_array_equal(decode_jpeg(codestream), values)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", range(9, 17))
@pytest.mark.parametrize("syntax", ["jpeg_lossless", "jpeg_lossless_sv1"])
def test_what_gdcm_wrote_is_read_to_the_bit(tmp_path, syntax, bits, signed):
    pytest.importorskip("gdcm")
    encoding = Encoding(syntax=syntax, bits_stored=bits, signed=signed, intercept=-200)
    lowest, highest = hu_range(encoding)
    hu = (
        np.random.default_rng(bits)
        .integers(max(lowest, -1024), min(highest, 3000), size=(33, 21))
        .astype(np.int16)
    )
    write_slice(tmp_path / "a.dcm", hu, IDENTITY, encoding)
    np.testing.assert_array_equal(read_slice(tmp_path / "a.dcm").hu, hu)


def test_a_progressive_image_which_can_hold_a_scan_for_every_50_bytes_is_refused():
    out = io.BytesIO()
    Image.fromarray(np.full((64, 64), 100, np.uint8)).save(out, "JPEG", progressive=True)
    assert start_of_frame(out.getvalue()) == 0xC2
    with pytest.raises(ValueError, match="neither baseline, extended nor lossless"):
        decode_jpeg(out.getvalue())


def test_twelve_bits_of_lossy_jpeg_come_near_what_was_encoded():
    values = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint16) * 20
    decoded = decode_jpeg(jpeg8_encode(values, level=95, bitspersample=12))
    assert decoded.dtype == np.uint16
    assert np.abs(decoded.astype(int) - values).max() <= 20


def test_thousands_of_broken_codestreams_are_decoded_or_refused():
    """A crash would end this process. benchmarks/decode.py tries more."""
    smooth = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint16) * 30
    sound, rng = sound_codestreams(smooth), np.random.default_rng(0)
    refused = 0
    for _ in range(2000):
        try:
            assert decode_jpeg(broken(sound, rng)).ndim >= 2
        except (ValueError, RuntimeError):
            refused += 1
    assert 200 < refused < 1900

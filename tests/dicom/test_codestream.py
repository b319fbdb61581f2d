import struct

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate, get_frame

from ich_mlflow.dicom.codestream import image_shape
from ich_mlflow.dicom.slice import read_slice
from ich_mlflow.dicom.write import Encoding, write_slice
from ich_mlflow.errors import SliceError
from tests.dicom.test_write import IDENTITY

SYNTAXES = ["jpeg_lossless", "jpeg_lossless_sv1", "jpeg_ls", "jpeg_2000"]


def written(path, syntax):
    """A compressed slice of 64 rows and 48 columns, and its codestream."""
    hu = np.random.default_rng(0).integers(-1000, 1000, size=(64, 48)).astype(np.int16)
    write_slice(path, hu, IDENTITY, Encoding(syntax=syntax))
    dataset = pydicom.dcmread(path)
    return dataset, get_frame(dataset.PixelData, 0, number_of_frames=1)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_rows_and_columns_are_those_that_were_written(tmp_path, syntax):
    assert image_shape(written(tmp_path / "a.dcm", syntax)[1]) == (64, 48, 1)


def test_a_header_worked_by_hand():
    comment = b"\xff\xfe" + struct.pack(">H", 4) + b"hi"
    frame = b"\xff\xc3" + struct.pack(">HBHHB", 11, 16, 512, 500, 1)
    assert image_shape(b"\xff\xd8" + comment + b"\xff" + frame) == (512, 500, 1)
    # a Huffman table (C4) is no frame
    table = b"\xff\xc4" + struct.pack(">H", 9) + b"\0" * 7
    assert image_shape(b"\xff\xd8" + table + frame) == (512, 500, 1)


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8", b"\xff\xd8\xff\xc3\0", b"\0" * 99, b"\xff\xd8" + b"\0" * 99]
)
def test_what_says_no_size_has_none(data):
    assert image_shape(data) is None


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_codestream_that_asks_for_gigabytes_is_refused_before_it_is_decoded(tmp_path, syntax):
    dataset, codestream = written(tmp_path / "a.dcm", syntax)
    rows, columns = (struct.pack(">I" if syntax == "jpeg_2000" else ">H", side) for side in (64, 48))
    order = columns + rows if syntax == "jpeg_2000" else rows + columns
    assert codestream.count(order) >= 1
    dataset.PixelData = encapsulate([codestream.replace(order, b"\xff" * len(order), 1)])
    dataset.save_as(tmp_path / "a.dcm")
    with pytest.raises(SliceError, match="can't be decoded") as caught:
        read_slice(tmp_path / "a.dcm")
    assert caught.value.reason == "undecodable"


@pytest.mark.parametrize("syntax", [*SYNTAXES, "rle"])
def test_no_broken_byte_takes_the_process_down(tmp_path, syntax):
    hu = np.random.default_rng(1).integers(-1000, 1000, size=(64, 48)).astype(np.int16)
    write_slice(tmp_path / "a.dcm", hu, IDENTITY, Encoding(syntax=syntax))
    data = (tmp_path / "a.dcm").read_bytes()
    start, random = data.rfind(b"\xfe\xff\x00\xe0") + 8, np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        broken = bytearray(data)
        for place in random.integers(start, len(data), 5):
            broken[place] = random.integers(256)
        (tmp_path / "b.dcm").write_bytes(broken)
        try:
            assert read_slice(tmp_path / "b.dcm").hu.shape == (64, 48)
        except SliceError:
            refused += 1
    assert refused > 10


@pytest.mark.parametrize("syntax", [*SYNTAXES, "rle"])
def test_a_compressed_file_that_is_cut_short_is_truncated_and_nothing_else(tmp_path, syntax):
    hu = np.random.default_rng(0).integers(-1000, 1000, size=(64, 48)).astype(np.int16)
    write_slice(tmp_path / "a.dcm", hu, IDENTITY, Encoding(syntax=syntax))
    (tmp_path / "a.dcm").write_bytes((tmp_path / "a.dcm").read_bytes()[:-1000])
    with pytest.raises(SliceError, match="cut short") as caught:
        read_slice(tmp_path / "a.dcm")
    assert (caught.value.reason, caught.value.tag) == ("truncated", "PixelData")


def test_without_a_decoder_a_file_is_undecodable(tmp_path, monkeypatch):
    written(tmp_path / "a.dcm", "jpeg_2000")
    monkeypatch.setattr("ich_mlflow.dicom.pixels._PLUGINS", ("pydicom", "pyjpegls"))
    with pytest.raises(SliceError) as caught:
        read_slice(tmp_path / "a.dcm")
    assert (caught.value.reason, caught.value.tag) == ("undecodable", "TransferSyntaxUID")


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_codestream_of_many_components_is_refused_before_it_is_decoded(tmp_path, syntax):
    dataset, codestream = written(tmp_path / "a.dcm", syntax)
    many = bytearray(codestream)
    if syntax == "jpeg_2000":
        many[40:42] = (16384).to_bytes(2, "big")
    else:
        frame = max(codestream.find(b"\xff\xc3"), codestream.find(b"\xff\xf7"))
        many[frame + 9] = 255
    dataset.PixelData = encapsulate([bytes(many)])
    dataset.save_as(tmp_path / "a.dcm")
    with pytest.raises(SliceError, match="can't be decoded"):
        read_slice(tmp_path / "a.dcm")

import struct
import time
import zlib

import numpy as np
import pytest
from imagecodecs import jpeg2k_encode
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSLossless

from benchmarks.fuzz import _CHUNK, corpus, mutated, outcome
from ich_mlflow.dicom import pixels
from ich_mlflow.dicom.codestream import expect_modest
from ich_mlflow.dicom.decoders import Decoders, processor_s
from ich_mlflow.dicom.elements import MAX_ELEMENTS, count_within
from ich_mlflow.dicom.slice import slice_from_bytes
from ich_mlflow.errors import SliceError
from tests.factories import write_dicom


def values_of(side):
    return (np.arange(side * side) % 60_000).astype(np.uint16).reshape(side, side)


def sound_codestream(side=64):
    import jpeg_ls

    return bytes(jpeg_ls.encode(values_of(side)))


def tags_of(side=64, syntax=JPEGLSLossless):
    return {
        "Rows": side, "Columns": side, "SamplesPerPixel": 1, "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15,
        "PixelRepresentation": 0, "PhotometricInterpretation": "MONOCHROME2", "TransferSyntaxUID": str(syntax),
    }  # fmt: skip


@pytest.fixture
def decoders():
    one = Decoders(count=1)
    yield one
    one.close()


def test_a_sound_codestream_decodes_to_the_bit_and_a_broken_one_does_not(decoders):
    good = sound_codestream()
    assert np.array_equal(decoders.decode(good, tags_of()), values_of(64))
    for broken in (good[:40], b"no codestream"):
        with pytest.raises(ValueError, match="the codestream"):
            decoders.decode(broken, tags_of())
    assert np.array_equal(decoders.decode(good, tags_of()), values_of(64))


def test_what_takes_too_long_is_given_up_and_the_next_is_decoded(decoders, monkeypatch):
    import jpeg_ls

    monkeypatch.setattr("ich_mlflow.dicom.decoders._LOOK_S", 0.01)
    decoders._limit_s = 0.02
    noise = np.random.default_rng(0).integers(0, 2**16, size=(4096, 4096)).astype(np.uint16)  # half a second
    with pytest.raises(ValueError, match="too much time"):
        decoders.decode(bytes(jpeg_ls.encode(noise)), tags_of(4096))
    decoders._limit_s = 5.0
    assert decoders.decode(sound_codestream(), tags_of()).shape == (64, 64)


def test_a_process_that_died_is_started_again(decoders):
    decoders.decode(sound_codestream(), tags_of())
    (process,) = decoders._idle
    process._process.kill()
    process._process.wait()
    assert decoders.decode(sound_codestream(), tags_of()).shape == (64, 64)


def test_memory_is_bounded(decoders, monkeypatch):
    monkeypatch.setattr("ich_mlflow.dicom.decoders.LIMIT_BYTES", 2**20)
    with pytest.raises(ValueError, match="codestream"):
        decoders.decode(sound_codestream(side=2048), tags_of(2048))
    decoders.close()
    monkeypatch.undo()
    assert decoders.decode(sound_codestream(side=2048), tags_of(2048)).shape == (2048, 2048)


def test_an_answer_of_another_size_is_not_believed(decoders):
    assert decoders.decode(sound_codestream(), tags_of()).shape == (64, 64)
    with pytest.raises(ValueError, match="codestream"):
        decoders.decode(sound_codestream(side=128), tags_of(64))


def test_the_processor_that_a_process_used_is_told():
    import os

    before = processor_s(os.getpid())
    if before is None:
        pytest.skip("no /proc here")
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass
    assert 0.1 < processor_s(os.getpid()) - before < 5
    assert processor_s(2**22 - 1) is None


def test_the_file_that_keeps_the_decoder_busy_for_seconds_is_refused(decoders, monkeypatch):
    """Of benchmarks/fuzz --seed 0: the only one of 100,000."""
    pytest.importorskip("gdcm")
    files, rng = corpus(), np.random.default_rng([0, 61])
    (slow,) = [data for data in (mutated(files, rng) for _ in range(_CHUNK)) if len(data) == 11753]
    decoders._limit_s = 0.5
    monkeypatch.setattr(pixels, "DECODERS", decoders)
    assert outcome(slow) == "refused"


def test_a_damaged_file_is_refused_in_a_line():
    data = bytearray(corpus(jpeg_lossless=False)[4])
    data[3000:3400] = bytes(400)
    with pytest.raises(SliceError) as error:
        slice_from_bytes(bytes(data), "row 0")
    assert error.value.reason in ("undecodable", "truncated")


def compressed(tmp_path, frame, syntax, side):
    def change(dataset):
        dataset.PixelData = encapsulate([frame])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True

    path = write_dicom(
        tmp_path / "x.dcm",
        np.zeros((side, side)),
        signed=False,
        intercept=-1024,
        syntax=syntax,
        change=change,
    )
    return path.read_bytes()


def j2k(side, *, tile=None, layers=1, precinct=None, levels=5):
    """The main header of a JPEG 2000 codestream, by hand: nothing of an image follows."""
    tile = tile or side
    siz = struct.pack(">HHIIIIIIIIHBBB", 41, 0, side, side, 0, 0, tile, tile, 0, 0, 1, 15, 1, 1)
    sizes = b"" if precinct is None else bytes([precinct]) * (levels + 1)
    cod = (
        struct.pack(">HBBHBBBBBB", 12 + len(sizes), precinct is not None, 0, layers, 0, levels, 4, 4, 0, 1)
        + sizes
    )
    return b"\xff\x4f\xff\x51" + siz + b"\xff\x52" + cod + b"\xff\x90"


def test_packets_are_counted_by_hand():
    expect_modest(j2k(512))  # one precinct a resolution
    expect_modest(j2k(512, layers=2**15 // 6))
    with pytest.raises(ValueError, match="too many packets"):
        expect_modest(j2k(512, layers=2**15 // 6 + 1))
    # of 2 x 2 pixels, without halving: 181 x 181 precincts are 32,761, and 182 x 182 are 33,124
    expect_modest(j2k(362, precinct=0x11, levels=0))
    with pytest.raises(ValueError, match="too many packets"):
        expect_modest(j2k(364, precinct=0x11, levels=0))
    expect_modest(j2k(1024, tile=32))
    with pytest.raises(ValueError, match="too many tiles"):
        expect_modest(j2k(1025, tile=32))


def test_a_jpeg_2000_of_tiny_precincts_is_refused_before_it_is_decoded(tmp_path):
    data = compressed(tmp_path, j2k(4096, precinct=0x11), JPEG2000Lossless, 4096)
    began = time.process_time()
    with pytest.raises(SliceError) as refusal:
        slice_from_bytes(data, "row 0")
    assert refusal.value.reason == "undecodable"
    assert time.process_time() - began < 1


def test_a_jpeg_2000_as_others_write_it_is_read(tmp_path):
    frame = bytes(jpeg2k_encode(values_of(64), codecformat="j2k", reversible=True))
    data = compressed(tmp_path, frame, JPEG2000Lossless, 64)
    assert np.array_equal(
        slice_from_bytes(data, "row 0").hu, np.clip(values_of(64).astype(int) - 1024, -1024, 32767)
    )


def test_a_jpeg_of_many_scans_is_refused(tmp_path):
    frame = (
        b"\xff\xd8\xff\xc0"
        + struct.pack(">HBHHB3B", 11, 8, 64, 64, 1, 1, 0x11, 0)
        + b"\xff\xda\0\x08\x01\x01\0\0\x3f\0" * 700
    )
    with pytest.raises(ValueError, match="more scans"):
        expect_modest(frame)
    with pytest.raises(SliceError) as refusal:
        slice_from_bytes(compressed(tmp_path, frame, JPEGBaseline8Bit, 64), "row 0")
    assert refusal.value.reason == "undecodable"


def element(tag, vr, value=b""):
    return struct.pack("<HH2sH", *tag, vr, len(value)) + value


def test_elements_and_items_of_a_sequence_are_counted_by_hand():
    item, end, last = (
        struct.pack("<HHI", 0xFFFE, low, length)
        for low, length in ((0xE000, 2**32 - 1), (0xE00D, 0), (0xE0DD, 0))
    )
    nested = struct.pack("<HH2sHI", 0x40, 0x9096, b"SQ", 0, 2**32 - 1)
    # an item with one element, and one with a sequence of an item with two: 1 + 1, 1 + 1, 1 + 2
    data = item + element((8, 0x60), b"CS", b"CT") + end
    data += item + nested + item + element((8, 0x60), b"CS", b"CT") * 2 + end + last + end + last
    after = element((8, 0x70), b"LO", b"xx") * 9
    assert count_within(data + after, 0, implicit=False, little=True, most=100) == 7
    assert count_within(data + after, 0, implicit=False, little=True, most=3) == 4
    assert count_within(data[:-20], 0, implicit=False, little=True, most=100) <= 7  # cut short


@pytest.mark.parametrize("deflated", [False, True])
@pytest.mark.parametrize("nested", [False, True])
def test_a_file_of_millions_of_elements_is_refused_at_once(tmp_path, deflated, nested):
    path = write_dicom(
        tmp_path / "x.dcm",
        np.zeros((32, 32)),
        syntax=DeflatedExplicitVRLittleEndian if deflated else "1.2.840.10008.1.2.1",
    )
    data = path.read_bytes()
    end = 144 + int.from_bytes(data[140:144], "little")
    meta, body = data[:end], data[end:]
    body = zlib.decompress(body, -zlib.MAX_WBITS) if deflated else body
    if nested:
        item = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
        bomb = (
            struct.pack("<HH2sHI", 8, 0x1140, b"SQ", 0, 2**32 - 1)
            + item * 2_000_000
            + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
        )
    else:
        bomb = b"".join(element((0x4001 + 2 * (k >> 16), k & 0xFFFF), b"LO") for k in range(300_000))
    place = (
        body.index(struct.pack("<HH", 8, 0x60)) if nested else body.index(struct.pack("<HH", 0x7FE0, 0x10))
    )
    body = body[:place] + bomb + body[place:]
    packed = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = packed.compress(body) + packed.flush() if deflated else body
    path.write_bytes(meta + body)
    began = time.process_time()
    with pytest.raises(SliceError, match=f"more than {MAX_ELEMENTS:,} elements before its pixels"):
        slice_from_bytes(path.read_bytes(), "row 0")
    assert time.process_time() - began < 2

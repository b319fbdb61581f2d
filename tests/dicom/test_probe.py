import numpy as np
import pytest

from benchmarks.fuzz import _CHUNK, corpus, mutated, outcome
from ich_mlflow.dicom import pixels
from ich_mlflow.dicom.probe import Probe
from ich_mlflow.errors import SliceError


def sound_codestream(side=64):
    import jpeg_ls

    values = np.arange(side * side).astype(np.uint16).reshape(side, side)
    return bytes(jpeg_ls.encode(values))


@pytest.fixture
def probe():
    one = Probe()
    yield one
    one.close()


def test_a_sound_codestream_decodes_and_a_broken_one_does_not(probe):
    good = sound_codestream()
    assert probe.decodes(good)
    assert not probe.decodes(good[:40])
    assert not probe.decodes(b"no codestream")
    assert probe.decodes(good)


def test_what_takes_too_long_is_given_up_and_the_next_is_served(probe):
    probe._limit_s = 1e-9
    assert not probe.decodes(sound_codestream(side=2048))
    probe._limit_s = 5.0
    assert probe.decodes(sound_codestream())


def test_a_process_that_died_is_started_again(probe):
    assert probe.decodes(sound_codestream())
    probe._process.kill()
    probe._process.wait()
    assert probe.decodes(sound_codestream())


def test_a_decoder_that_says_nothing_is_given_up(probe, monkeypatch, tmp_path):
    """A decoder of our own, so that how fast the machine is decides nothing."""
    silent = tmp_path / "silent.py"
    silent.write_text("import sys, time\nsys.stdout.write('r')\nsys.stdout.flush()\ntime.sleep(600)\n")
    monkeypatch.setattr("ich_mlflow.dicom.probe._PROGRAM", silent)
    probe._limit_s = 0.1
    assert not probe.decodes(sound_codestream())
    assert probe._process is None


def test_the_file_that_keeps_the_decoder_busy_for_seconds_is_refused(probe, monkeypatch):
    """Of benchmarks/fuzz --seed 0: the only one of 100,000."""
    pytest.importorskip("gdcm")
    files, rng = corpus(), np.random.default_rng([0, 61])
    (slow,) = [data for data in (mutated(files, rng) for _ in range(_CHUNK)) if len(data) == 11753]
    probe._limit_s = 0.5
    monkeypatch.setattr(pixels, "PROBE", probe)
    assert outcome(slow) == "refused"


def test_a_damaged_file_is_refused_in_a_line(tmp_path):
    from ich_mlflow.dicom.slice import slice_from_bytes

    data = bytearray(corpus(jpeg_lossless=False)[4])
    data[3000:3400] = bytes(400)
    with pytest.raises(SliceError) as error:
        slice_from_bytes(bytes(data), "row 0")
    assert error.value.reason in ("undecodable", "truncated")

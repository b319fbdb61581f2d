import numpy as np
import pytest

from ich_mlflow.dataset.codec import SLICE_BYTES, codec_named


@pytest.mark.parametrize("name", ["raw", "zstd"])
@pytest.mark.parametrize("low", [-1024, -32768])
def test_pixels_come_back_as_they_were(name, low):
    hu = np.random.default_rng(0).integers(low, 32768, size=(256, 256)).astype(np.int16)
    out = np.empty((256, 256), np.int16)
    codec_named(name).decode(codec_named(name).encode(hu), out)
    np.testing.assert_array_equal(out, hu)


def test_compression_makes_a_slice_of_air_small_and_raw_does_not():
    air = np.full((256, 256), -1000, np.int16)
    assert len(codec_named("raw").encode(air)) == SLICE_BYTES == 131072
    assert len(codec_named("zstd").encode(air)) < 1000


@pytest.mark.parametrize("name", ["raw", "zstd"])
@pytest.mark.parametrize("data", [b"", b"\0" * 100])
def test_damaged_bytes_are_a_value_error(name, data):
    with pytest.raises(ValueError):
        codec_named(name).decode(data, np.empty((256, 256), np.int16))


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="'lz4', expected raw or zstd"):
        codec_named("lz4")

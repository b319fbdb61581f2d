import numpy as np
import pytest

from ich_mlflow.ct.window import BONE, BRAIN, SUBDURAL, Window, apply_windows, parse_windows
from ich_mlflow.errors import OptionError


def windowed(hu: float, window: Window) -> float:
    return float(apply_windows(np.array([[hu]]), (window,))[0, 0, 0])


def test_window_maps_half_a_unit_below_its_center_to_one_half():
    assert windowed(39.5, BRAIN) == pytest.approx(127.5)


def test_window_maps_its_center_to_about_one_half():
    # 0.5 + 0.5 / 79, of 255
    assert windowed(40, BRAIN) == pytest.approx(129.11, abs=0.01)


def test_window_ends_are_black_and_white():
    # DICOM: black up to 39.5 - 79/2 = 0, white from 39.5 + 79/2 = 79
    assert windowed(0, BRAIN) == pytest.approx(0, abs=1e-4)
    assert windowed(79, BRAIN) == pytest.approx(255)
    assert windowed(1, BRAIN) == pytest.approx(255 / 79, abs=1e-4)


def test_what_lies_outside_a_window_is_clipped():
    assert windowed(-1024, BRAIN) == 0
    assert windowed(32767, BRAIN) == 255


def test_each_window_is_a_channel_in_its_order():
    image = apply_windows(np.full((2, 3, 4), 79, np.int16), (BRAIN, SUBDURAL, BONE))
    assert image.shape == (2, 3, 4, 3)
    assert image.dtype == np.float32
    # (79 - 79.5) / 199 + 0.5 and (79 - 599.5) / 2799 + 0.5
    assert image[0, 0, 0] == pytest.approx([255, 255 * 0.497487, 255 * 0.314041], abs=1e-3)


@pytest.mark.parametrize("width", [1, 0, -80, float("nan")])
def test_a_width_of_one_or_less_is_refused(width):
    with pytest.raises(OptionError, match="width"):
        Window(40, width)


def test_windows_are_read_by_name_and_by_number():
    assert parse_windows("brain, subdural,bone") == (BRAIN, SUBDURAL, BONE)
    assert parse_windows("40/80") == (BRAIN,)


@pytest.mark.parametrize("text", ["", "liver", "40", "40/80/2", "a/b", "brain,bone", "40/1"])
def test_windows_that_make_no_sense_are_refused(text):
    with pytest.raises(OptionError):
        parse_windows(text)

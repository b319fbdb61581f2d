import numpy as np
import pytest

from ich_mlflow.ct.hounsfield import from_windows, to_hounsfield, unwrap_12_bit
from ich_mlflow.ct.window import Window

BRAIN_JPEG = Window(40, 120)
BONE_JPEG = Window(700, 3200)


def rebuilt(brain: int, bone: int) -> int:
    hu = from_windows(
        narrow=np.array([[brain]], np.uint8), narrow_window=BRAIN_JPEG,
        wide=np.array([[bone]], np.uint8), wide_window=BONE_JPEG,
    )  # fmt: skip
    assert hu.dtype == np.int16
    return int(hu[0, 0])


def test_stored_values_become_hounsfield_units():
    assert to_hounsfield(np.array([[24, 1024, 1064]]), slope=1, intercept=-1024).tolist() == [[-1000, 0, 40]]


def test_a_fractional_slope_is_rounded_to_whole_units():
    assert to_hounsfield(np.array([[100, 101]]), slope=0.5, intercept=-10.2).tolist() == [[40, 40]]


def test_padding_and_overflow_are_clipped():
    stored = np.array([[-2000, 32767, 65535]])
    assert to_hounsfield(stored, slope=1, intercept=-1024).tolist() == [[-1024, 31743, 32767]]
    assert to_hounsfield(stored, slope=2, intercept=0).dtype == np.int16


def test_unsigned_stored_values_do_not_wrap_around():
    assert to_hounsfield(np.array([[0]], np.uint16), slope=1, intercept=-1000).tolist() == [[-1000]]


def test_an_extreme_slope_is_clipped_and_does_not_overflow():
    assert to_hounsfield(np.array([[60000]], np.uint16), slope=1e5, intercept=0).tolist() == [[32767]]


def test_a_huge_intercept_is_clipped_and_does_not_overflow():
    assert to_hounsfield(np.array([[0]], np.uint16), slope=1, intercept=1e12).tolist() == [[32767]]


def test_12_bit_values_from_3096_up_are_negative_units_modulo_4096():
    # 3096 - 4096 = -1000 (air), 4095 - 4096 = -1; 3095 is dense bone or metal
    assert unwrap_12_bit(np.array([[3096, 4095, 0, 3095]], np.uint16)).tolist() == [[-1000, -1, 0, 3095]]


def test_the_finer_window_is_used_where_it_is_not_saturated():
    assert rebuilt(brain=106, bone=0) == 30  # 40 - 60 + 120 * 106 / 255 = 29.88


def test_the_wider_window_is_used_where_the_finer_is_saturated():
    assert rebuilt(brain=255, bone=128) == 706  # 700 - 1600 + 3200 * 128 / 255 = 706.3
    assert rebuilt(brain=0, bone=0) == -900
    assert rebuilt(brain=2, bone=0) == -900
    assert rebuilt(brain=253, bone=255) == 2300


def test_windows_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match="differ in size"):
        from_windows(
            narrow=np.zeros((2, 2), np.uint8), narrow_window=BRAIN_JPEG,
            wide=np.zeros((2, 3), np.uint8), wide_window=BONE_JPEG,
        )  # fmt: skip


def test_numbers_that_no_float_holds_are_clipped_without_a_word(recwarn):
    values = np.array([[-1, 0, 1]], np.int16)
    assert to_hounsfield(values, slope=1e308, intercept=1e308).tolist() == [[0, 32767, 32767]]
    assert to_hounsfield(values * 9, slope=1e308, intercept=0.5).tolist() == [[-1024, 0, 32767]]
    assert not recwarn.list

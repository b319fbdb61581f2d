import numpy as np
import pytest

from ich_mlflow.ct.blood import BITS, UNNAMED, blood_of, blood_to_stored_size, mask_of

CORNER = np.array([[True, False], [False, False]])


def test_the_bits_stand_in_the_order_of_the_subtypes_and_the_sixth_is_of_blood_without_a_name():
    assert BITS.tolist() == [1, 2, 4, 8, 16]
    assert UNNAMED == 32


@pytest.mark.parametrize(
    ("subtypes", "bit"),
    [((1, 0, 0, 0, 0), 1), ((0, 0, 0, 0, 1), 16), ((0, 1, 1, 0, 0), 32)],
)
def test_a_mask_of_all_blood_is_of_the_one_subtype_of_its_slice_or_of_none_of_several(subtypes, bit):
    assert blood_of(CORNER, subtypes).tolist() == [[bit, 0], [0, 0]]


def test_any_is_all_blood_also_that_without_a_name():
    blood = np.array([[0, 1, 2], [3, 32, 16]], np.uint8)
    assert mask_of(blood, "any").tolist() == [[False, True, True], [True, True, True]]
    assert mask_of(blood, "epidural").tolist() == [[False, True, False], [True, False, False]]
    assert mask_of(blood, "subdural").tolist() == [[False, False, False], [False, False, True]]


def test_a_stored_pixel_shows_blood_where_half_of_it_does():
    blood = np.zeros((4, 4), np.uint8)
    blood[0, :2] = 1  # half of the first of four pixels
    blood[2, 2] = 1  # a quarter of the last
    blood[2:, 2:] |= 32  # and all of it has no name
    assert blood_to_stored_size(blood, size=2).tolist() == [[1, 0], [0, 32]]


def test_blood_is_padded_square_as_its_slice_is():
    blood = np.full((2, 4), 4, np.uint8)
    assert blood_to_stored_size(blood, size=4).tolist() == [[0] * 4, [4] * 4, [4] * 4, [0] * 4]

import numpy as np
import pytest

from ich_mlflow.ct.plausibility import content_warnings, geometry_warnings


def _slice(*, air: float, bone: float) -> np.ndarray:
    """100 x 100: so much air, so much bone, the rest brain with some noise."""
    hu = 30 + np.arange(10_000) % 3
    hu[: round(air * 10_000)] = -1000
    hu[10_000 - round(bone * 10_000) :] = 900
    return hu.reshape(100, 100).astype(np.int16)


@pytest.mark.parametrize(
    ("air", "bone", "said"),
    [
        (0.6, 0.06, []),
        (0.25, 0.22, []),
        (0.24, 0.06, ["not like a head CT: 24 % of it is air, expected 25 to 99 %"]),
        (1.0, 0.001, ["not like a head CT: 100 % of it is air, expected 25 to 99 %"]),
        (0.6, 0.23, ["not like a head CT: 23 % of it is bone or metal, expected at most 22 %"]),
    ],
)
def test_a_slice_whose_air_or_bone_is_not_a_heads_is_warned_of(air, bone, said):
    hu = _slice(air=air, bone=bone)
    assert content_warnings(hu, hu) == said


def test_an_image_of_at_most_256_grey_values_is_a_window_not_hounsfield_units():
    grey = np.arange(256, dtype=np.int16).reshape(16, 16)
    assert content_warnings(grey, grey)[0].startswith("window only")
    wider = np.concatenate([grey, grey - 1])
    assert not any(line.startswith("window only") for line in content_warnings(wider, wider))


@pytest.mark.parametrize(
    ("spacing", "tilt", "said"),
    [
        (None, None, []),
        ((0.45, 0.45), 20.0, []),
        ((0.2, 0.2), None, ["the field of view is not of 120 to 420 mm, as a head's is"]),
        ((0.45, 0.46), None, ["its pixels are not square, which the model takes them to be"]),
        ((0.45, 0.45), 90.0, ["not an axial slice"]),
    ],
)
def test_size_and_tilt_of_something_else_are_warned_of(spacing, tilt, said):
    assert geometry_warnings((512, 512), spacing, tilt) == said

import numpy as np
import pytest

from ich_mlflow.ct.resample import to_stored_size
from ich_mlflow.models.slice_cnn.augmentation import AUGMENTATIONS, augment_slices, num_draws
from ich_mlflow.models.slice_cnn.hyperparameters import RECIPES, Hyperparameters
from ich_mlflow.phantom.scanner import Scanner, scan_slice

OF_SCANNER = ("hu_gain", "hu_offset", "kernel_change", "blur_pixels", "noise_hu")


class Highest:
    """A generator that draws the highest of a range, and noise of a seed."""

    def uniform(self, low, high):
        return high

    def standard_normal(self, shape, dtype):
        return np.random.default_rng(0).standard_normal(shape, dtype=dtype)


def at_most(name, hu, strength):
    """What an augmentation makes of a slice where it draws its whole strength."""
    return AUGMENTATIONS[name].alter(np.asarray(hu, np.float32)[..., None], Highest(), strength)[..., 0]


def still(**strengths):
    return Hyperparameters(rotation_degrees=0, zoom=0, shift=0, flip=False, **strengths)


def test_a_gain_of_a_tenth_leaves_water_and_air_and_makes_60_hu_of_blood_66():
    assert at_most("hu_gain", [[-1000, 0, 60, 1000]], 0.1)[0] == pytest.approx([-1000, 0, 66, 1100], rel=1e-6)


def test_an_offset_of_5_hu_is_added_to_all_but_air():
    assert at_most("hu_offset", [[-1000, -100, 0, 60]], 5)[0].tolist() == [-1000, -95, 5, 65]


def test_a_sharp_kernel_raises_a_bright_pixel_by_what_a_gaussian_takes_from_it():
    dot = np.zeros((15, 15))
    dot[7, 7] = 100
    # a Gaussian of 1 pixel leaves (1 / sum exp(-k^2 / 2))^2 = 0.3989^2 = 0.159 of it: 84.1 taken, half of that added
    sharp = at_most("kernel_change", dot, 0.5)
    assert sharp[7, 7] == pytest.approx(100 + 84.1 / 2, abs=0.2)
    assert sharp[7, 8] == pytest.approx(-100 * 0.3989**2 * np.exp(-0.5) / 2, abs=0.1)
    assert sharp.sum() == pytest.approx(100, abs=1e-3)  # where it is flat nothing changes


def test_a_blur_of_one_pixel_leaves_a_sixth_of_a_bright_pixel_and_one_of_nothing_leaves_all():
    dot = np.zeros((15, 15))
    dot[7, 7] = 100
    assert at_most("blur_pixels", dot, 1.0)[7, 7] == pytest.approx(15.9, abs=0.2)
    assert at_most("blur_pixels", dot, 1.0).sum() == pytest.approx(100, abs=1e-3)
    assert at_most("blur_pixels", dot, 0.05)[7, 7] == 100


def test_noise_has_the_deviation_that_was_drawn():
    noise = at_most("noise_hu", np.full((256, 256), 40.0), 3)
    assert noise.std() == pytest.approx(3, rel=1e-4)
    assert noise.mean() == pytest.approx(40, abs=0.1)


def neighbours_share(noise):
    """Correlation of a pixel with the one beside it."""
    noise = noise - noise.mean()
    return (noise[:, 1:] * noise[:, :-1]).mean() / (noise * noise).mean()


def test_noise_is_as_correlated_as_that_of_a_phantom_scanner_at_the_stored_size():
    rng = np.random.default_rng(0)
    scanned = [
        to_stored_size(
            scan_slice(np.zeros((512, 512), np.float32), Scanner.draw(rng), pixel_mm=0.45, base=0, rng=rng)
        )[70:186, 70:186].astype(np.float64)  # within the holder
        for _ in range(12)
    ]
    water = np.zeros((12, 256, 256, 1), np.int16)
    noisy = augment_slices(water, rng.random((12, num_draws())), still(noise_hu=3))[..., 0]
    added, of_scanners = (np.mean([neighbours_share(one) for one in each]) for each in (noisy, scanned))
    assert 0.3 < of_scanners < 0.5
    assert added == pytest.approx(of_scanners, abs=0.07)


def test_a_slice_and_its_neighbours_are_of_one_scanner_but_each_has_its_own_noise():
    hu = np.random.default_rng(0).integers(-400, 100, size=(1, 32, 32, 1)).astype(np.int16)
    three, draws = np.repeat(hu, 3, axis=-1), np.random.default_rng(1).random((1, num_draws()))
    for name in OF_SCANNER[:4]:
        changed = augment_slices(three, draws, still(**{name: 0.4}))
        assert not np.array_equal(changed, three)
        np.testing.assert_array_equal(changed[..., 0], changed[..., 1])
    noisy = augment_slices(three, draws, still(noise_hu=3))
    assert not np.array_equal(noisy[..., 0], noisy[..., 1])


@pytest.mark.parametrize("name", OF_SCANNER)
def test_each_slice_has_a_scanner_of_its_own_whatever_the_batch(name):
    hu = np.repeat(np.random.default_rng(0).integers(-400, 100, size=(1, 32, 32, 1)), 2, axis=0)
    draws = np.random.default_rng(1).random((2, num_draws()))
    both = augment_slices(hu, draws, still(**{name: 0.4}))
    assert both.dtype == np.float32
    assert not np.array_equal(both[0], both[1])
    np.testing.assert_array_equal(augment_slices(hu[1:], draws[1:], still(**{name: 0.4}))[0], both[1])


def test_only_the_recipe_for_small_cohorts_has_other_scanners():
    for recipe, one in RECIPES.items():
        strengths = [getattr(one, name) for name in OF_SCANNER]
        assert any(strengths) == all(strengths) == (recipe == "small-cohort"), recipe

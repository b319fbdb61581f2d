from types import SimpleNamespace

import numpy as np
import pytest

from ich_mlflow.dataset.build import BuildOptions, build_stored_set
from ich_mlflow.evaluation.blood import of_exams
from ich_mlflow.models.family import Reading
from ich_mlflow.stages.common.blood_meter import BloodMeter
from tests.factories import BloodSource

ANY = 0


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Of a bleeding patient's slices 5 mm apart, pixels of 1 mm x 0.8 mm: 3, 2 and 1 rows of blood, one not known."""
    folder = tmp_path_factory.mktemp("blood")
    source = BloodSource(folder, [(1, 0, 0, 0, 0), (0,) * 5, (0,) * 5], slices_per_patient=4)
    return build_stored_set(source, folder / "set", BuildOptions(seed=1, workers=1), progress=False)


def read(stored, *, lesions):
    meter = BloodMeter(SimpleNamespace(blood_threshold=0.5), stored)
    for members in stored.whole_series(np.arange(8)):
        said = np.zeros((len(members), 5), np.float32)
        meter.add(members, Reading(said, lesions=lesions(len(members)) if lesions else None))
    return meter.found


def test_a_series_is_measured_where_its_masks_are_known(stored):
    everywhere = np.array([0, 0, 0, 0, 0.6], np.float32)
    found = read(stored, lesions=lambda n: np.tile(everywhere, (n, 1, 1, 1)))
    exams = of_exams(found, ANY)
    # (3 + 2 + 1) rows of 256 pixels, each 0.8 mm2 x 5 mm: 6.144 ml. Found: three whole slices
    assert exams.blood_ml.tolist() == pytest.approx([6.144, 0])
    assert exams.found_ml.tolist() == pytest.approx([3 * 65536 * 0.004] * 2)
    assert exams.dice[0] == pytest.approx(2 * 1536 / (3 * 65536 + 1536))
    assert exams.patients.tolist() == ["p000", "p001"]


def test_below_the_threshold_nothing_is_found(stored):
    found = read(
        stored, lesions=lambda n: np.full((n, 2, 2, 5), 0.1, np.float32)
    )  # together 1 - 0.9^5 = 0.41
    assert of_exams(found, ANY).found_ml.tolist() == [0, 0]
    assert of_exams(found, ANY).dice[0] == 0


def test_without_a_map_nothing_is_measured(stored):
    assert read(stored, lesions=None) is None

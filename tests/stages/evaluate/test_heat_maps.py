from dataclasses import dataclass, replace

import numpy as np

from ich_mlflow.ct.blood import UNNAMED
from ich_mlflow.dataset.build import BuildOptions, build_stored_set
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.evaluation.pointing import Pointed
from ich_mlflow.stages.evaluate.heat_maps import _counted
from ich_mlflow.stages.evaluate.lesions import has_masks, masks_of
from tests.factories import BloodSource


def test_slices_that_are_only_shown_do_not_count():
    # two hits among the four of the even choice; the surest slice, shown beside them, is a third
    pointed = Pointed(
        peaks=np.zeros((5, 2)),
        hits=np.array([True, False, True, True, False]),
        chance=np.array([0.2, 0.2, 1.0, 0.4, 0.4]),
        tolerance=1,
    )
    counting, patients = np.array([True, True, False, True, True]), np.array(list("aabcc"))
    counted = _counted("subdural", pointed, counting, patients, num_resamples=50)
    assert (counted["slices"], counted["hits"], counted["rate"]) == (4, 2, 0.5)
    assert np.isclose(counted["chance"], 0.3)
    assert counted["patients"] == 2  # too few for an interval
    assert np.isnan(counted["low"])


def test_masks_are_pointed_at_where_they_say_whose_blood_it_is_and_show_some(tmp_path):
    # slices 1 to 3 of each patient have masks, of the first patient with blood; of slice 0 it is not known
    bled = build(tmp_path / "named", bit=1)
    assert has_masks(bled)
    masks, known = masks_of(bled, np.arange(8), "epidural")
    assert known.tolist() == [True, True, True, False] + [False] * 4  # from the neck up: 3, 2, 1, 0
    assert masks[:3].sum(axis=(1, 2)).tolist() == [3 * 256, 2 * 256, 256]
    unnamed = build(tmp_path / "unnamed", bit=UNNAMED)
    assert not masks_of(unnamed, np.arange(8), "epidural")[1].any()
    assert masks_of(unnamed, np.arange(8), "any")[1].sum() == 3
    assert not has_masks(replace(bled, rows=np.array([3])))


@dataclass(frozen=True)
class Split:
    """As much of Scored as masks need."""

    stored: StoredSet
    rows: np.ndarray


def build(folder, *, bit):
    source = BloodSource(folder, [(1, 0, 0, 0, 0), (0,) * 5, (0,) * 5], bit=bit, slices_per_patient=4)
    stored = build_stored_set(source, folder / "set", BuildOptions(seed=1, workers=1), progress=False)
    return Split(stored, np.arange(8))

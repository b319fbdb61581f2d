"""The second edition of the phantoms: thickness, one rule for pixels, masks and labels, harmless findings."""

from dataclasses import replace

import numpy as np
import pytest

from ich_mlflow.errors import OptionError
from ich_mlflow.labels import SUBTYPES
from ich_mlflow.phantom.cohort import CohortOptions, cohort_settings
from ich_mlflow.phantom.exam import ExamOptions, make_exam
from ich_mlflow.phantom.grid import Geometry, Pose
from ich_mlflow.phantom.second import bleeds
from ich_mlflow.phantom.second.blood import STYLES, blood_hu
from ich_mlflow.phantom.second.brain import Infarct, brain_share, paint_brain
from ich_mlflow.phantom.second.patient import Patient
from ich_mlflow.phantom.second.planes import DEPTHS, sample_planes, sample_tissue
from ich_mlflow.phantom.second.render import turn
from ich_mlflow.phantom.second.scanner import Acquisition, acquire
from ich_mlflow.phantom.second.skull import Findings, Plane, paint_skull
from ich_mlflow.phantom.template import load_template

GEOMETRY = Geometry(rows=128, pixel_mm=1.88, num_slices=28, step_mm=5.0, tilt_degrees=0.0)
POSE = Pose(linear=np.eye(3), centre=np.array([0.0, -10.0, 11.0]))
MAKERS = {
    "epidural": bleeds.epidural,
    "subdural": bleeds.subdural,
    "intraparenchymal": bleeds.intraparenchymal,
}


@pytest.fixture(scope="module")
def planes():
    return sample_planes(load_template(), GEOMETRY, POSE, 0.5, np.random.default_rng(0))


@pytest.fixture(scope="module")
def tissue(planes):
    return sample_tissue(load_template(), planes, None, np.random.default_rng(1))


@pytest.fixture(scope="module")
def exam():
    return make_exam(_options(exam_rate=1.0), 1)


def _options(**changed):
    return ExamOptions(**{"rows": 64, "edition": 2, **changed})


def _patient(**changed):
    return replace(Patient.draw(np.random.default_rng(3)), **changed)


def test_the_same_options_and_number_make_the_same_exam(exam):
    again = make_exam(_options(exam_rate=1.0), 1)
    np.testing.assert_array_equal(exam.hu, again.hu)
    np.testing.assert_array_equal(exam.blood, again.blood)


def test_the_two_editions_name_the_same_patients_and_show_others(exam):
    first = make_exam(_options(exam_rate=1.0, edition=1), 1)
    assert (first.patient_id, first.sop_uids[0]) == (exam.patient_id, exam.sop_uids[0])
    assert first.hu.shape != exam.hu.shape or (first.hu != exam.hu).any()


def test_every_label_has_a_mask_and_every_mask_a_label():
    for number in range(4):
        made = make_exam(_options(exam_rate=0.8, min_blood_area_mm2=40.0), number)
        areas = made.blood.sum(axis=(2, 3)).T * made.geometry.pixel_mm**2
        np.testing.assert_array_equal(made.subtypes == 1, areas > 0)
        assert areas[areas > 0].min() > 40


def test_a_slice_whose_blood_is_below_the_least_area_shows_none_of_it():
    # No blood covers a whole slice: then nothing is painted, and the exam is as one without bleeds, but for the push.
    made = make_exam(_options(exam_rate=1.0, min_blood_area_mm2=1e6), 1)
    assert made.subtypes.sum() == 0
    assert made.blood.sum() == 0


def test_an_exam_without_bleeds_is_a_head():
    made = make_exam(_options(exam_rate=0.0, rows=128), 0)
    middle = made.hu[len(made.hu) // 2]
    assert 20 < np.median(middle[54:74, 56:72]) < 45  # brain
    assert (middle > 800).sum() > 200  # a ring of bone
    assert (middle < -900).mean() > 0.3  # air around it
    assert made.subtypes.sum() == 0


def test_a_surface_that_is_oblique_to_the_slice_is_averaged_over_its_thickness(planes):
    at_table = np.abs(planes.cavity_mm) < 2
    slope = np.where(at_table, planes.slope, 0)
    middle, vertex = DEPTHS * 13, DEPTHS * 23
    # Where the skull is upright a plane cuts it sharply; at the vertex 2.5 mm of thickness are in every pixel.
    assert slope[middle][at_table[middle]].mean() < 0.8
    assert slope[vertex][at_table[vertex]].mean() > 1.2
    assert Plane.of(planes, vertex).edge[at_table[vertex]].mean() > 1.4


def test_a_full_brain_has_less_csf_at_the_skull_than_a_shrunken_one(planes, tissue):
    at_skull = (planes.cavity_mm < -3) & (planes.cavity_mm > -12) & (planes.z > 10)
    young = brain_share(planes, tissue, _patient(fullness=0.9, atrophy=-0.1))
    old = brain_share(planes, tissue, _patient(fullness=0.0, atrophy=0.25))
    assert young[at_skull].mean() > 0.9
    assert old[at_skull].mean() < 0.75


@pytest.mark.parametrize("name", MAKERS)
def test_blood_outside_ventricles_and_sulci_lies_in_the_cavity_and_pushes(planes, name):
    for seed in range(6):
        bleed = MAKERS[name](planes, np.random.default_rng(seed))
        assert (planes.cavity_mm[bleed.share > 0.5] < 1).all()
        assert bleed.share.dtype == np.float32
    pushes = [MAKERS[name](planes, np.random.default_rng(seed)).push for seed in range(6)]
    furthest = [np.sqrt(sum(part**2 for part in push)).max() for push in pushes if push]
    assert 2 < max(furthest) < 40


def test_what_is_pushed_is_found_farther_in(planes):
    toward_right = [np.full(planes.x.shape, 8.0, np.float32), *(np.zeros_like(planes.x) for _ in range(2))]
    still = sample_tissue(load_template(), planes, None, np.random.default_rng(1))
    pushed = sample_tissue(load_template(), planes, toward_right, np.random.default_rng(1))
    deep = planes.cavity_mm < -20

    def middle_of_ventricles(found):
        return planes.x[deep & (found.ventricle_mm < 0)].mean()

    # At a point is shown what lies 8 mm farther right: the midline is shifted left by as much.
    assert middle_of_ventricles(still) - middle_of_ventricles(pushed) == pytest.approx(8, abs=1.5)


def test_subarachnoid_blood_is_outside_the_ventricles_and_intraventricular_blood_within(planes, tissue):
    outside = bleeds.subarachnoid(planes, tissue, np.random.default_rng(2)).share > 0.5
    within = bleeds.intraventricular(planes, tissue, 0.0, np.random.default_rng(2)).share > 0.5
    assert outside.any()
    assert within.any()
    assert (tissue.ventricle_mm[outside] > 0).mean() > 0.95
    assert (tissue.ventricle_mm[within] < 2).all()


@pytest.mark.parametrize(("style", "low", "high"), [("fresh", 45, 95), ("faint", 34, 62), ("old", 4, 50)])
def test_styles_of_blood_have_their_attenuation(planes, style, low, high):
    values = [
        np.percentile(blood_hu(style, planes, np.random.default_rng(seed)), (5, 95)) for seed in range(8)
    ]
    assert low < min(v[0] for v in values)
    assert max(v[1] for v in values) < high


def test_layered_blood_is_denser_at_the_back_where_cells_sink(planes):
    hu = blood_hu("layered", planes, np.random.default_rng(0))
    assert hu[planes.y < -70].mean() > hu[planes.y > 40].mean() + 15
    assert set(STYLES) >= {"layered", "mixed"}


def test_calcium_is_brighter_than_blood_and_not_labelled(planes, tissue):
    patient = _patient(calcified_pineal=True, calcified_falx=True, infarct=False)
    infarct = Infarct.draw(np.random.default_rng(0))
    brain = brain_share(planes, tissue, patient)
    near = int(np.abs(planes.z.mean(axis=(1, 2)) - 2).argmin())
    args = (Plane.of(planes, near), brain[near], np.zeros_like(brain[near]), tissue.ventricle_mm[near])
    calcified = paint_brain(*args, patient, infarct)
    plain = paint_brain(*args, replace(patient, calcified_pineal=False, calcified_falx=False), infarct)
    within = planes.cavity_mm[near] < -15
    assert calcified[within].max() > 120 > plain[within].max()


def test_a_craniotomy_and_a_fracture_take_bone_away(planes):
    findings = Findings.draw(np.random.default_rng(4))
    whole = _patient(craniotomy=False, fracture=False, scalp_haematoma=False)

    def bone(patient):
        return sum(
            float(paint_skull(Plane.of(planes, number), patient, findings).clip(300, None).sum())
            for number in range(20, len(planes.x))
        )

    intact = bone(whole)
    # A pixel of bone has some 1000 HU more than what is counted for one without.
    assert bone(replace(whole, craniotomy=True)) < intact - 20_000
    assert bone(replace(whole, fracture=True)) < intact - 5_000


def test_heads_are_turned_by_up_to_thirty_degrees():
    angles = []
    for seed in range(200):
        linear = turn(POSE, np.random.default_rng(seed)).linear
        angles.append(np.degrees(np.arctan2(linear[1, 0], linear[0, 0])))
    assert 20 < np.abs(angles).max() <= 30.5
    # Of a normal distribution of 9 degrees 10 % are beyond 15.
    assert 0.03 < (np.abs(angles) > 15).mean() < 0.2


def test_motion_leaves_a_ghost_and_a_sharp_kernel_an_edge():
    ideal = np.full((64, 64), 30.0, np.float32)
    ideal[:, 32:] = 900.0
    quiet = Acquisition.draw(np.random.default_rng(0))
    quiet = replace(
        quiet,
        scanner=replace(quiet.scanner, noise_hu=0.01, streaks_hu=0.0, circle=False, holder_mm=1e4),
        sharpening=0.0,
        motion_mm=0.0,
    )

    def scanned(**changed):
        one = replace(quiet, **changed)
        return acquire(ideal, one, pixel_mm=1.0, base=0.0, rng=np.random.default_rng(5))

    assert scanned().max() <= 901
    assert scanned(sharpening=0.9).max() > 920
    # The generator's first draw of 5 is 0.81: no motion on that slice.
    np.testing.assert_array_equal(scanned(motion_mm=4.0), scanned())


def test_an_edition_that_is_not_there_is_refused():
    with pytest.raises(OptionError, match="edition is 3, expected one of 1, 2"):
        ExamOptions(edition=3)


def test_a_cohort_of_the_first_edition_is_described_as_before():
    assert "edition" not in cohort_settings(CohortOptions(exams=3))
    assert cohort_settings(CohortOptions(exams=3, edition=2))["edition"] == 2


def test_blood_of_every_subtype_shows_in_some_exam(exam):
    shown = exam.subtypes.any(axis=0) | make_exam(_options(exam_rate=1.0), 2).subtypes.any(axis=0)
    assert shown.sum() >= len(SUBTYPES) - 1

import numpy as np
import pytest

from ich_mlflow.errors import OptionError
from ich_mlflow.labels import SUBTYPES
from ich_mlflow.phantom.anatomy import Patient, build_fields
from ich_mlflow.phantom.bleeds import BLEEDS, oedema_rim
from ich_mlflow.phantom.exam import ExamOptions, make_exam
from ich_mlflow.phantom.grid import Geometry, Pose, sample_head
from ich_mlflow.phantom.template import load_template

ROWS = 128
GEOMETRY = Geometry(rows=ROWS * 2, pixel_mm=0.94, num_slices=30, step_mm=5.0, tilt_degrees=0.0)


@pytest.fixture(scope="module")
def fields():
    """A head as the template has it, on pixels of 1.88 mm."""
    pose = Pose(linear=np.eye(3), centre=np.array([0.0, -10.0, 11.0]))
    head = sample_head(load_template(), GEOMETRY, pose, np.random.default_rng(0))
    patient = Patient(
        atrophy=0.1, ventricle_mm=1.0, skull_mm=6.0, scalp_mm=5.0, grey=38.0, white=28.0, calcified=False
    )
    return build_fields(head, patient, np.random.default_rng(1))


def _masks(fields, name, count=12):
    return [BLEEDS[name](fields, np.random.default_rng((5, seed))) > 0.5 for seed in range(count)]


def _options(**changed):
    return ExamOptions(**{"rows": ROWS, "exam_rate": 0.5, **changed})


def test_the_same_seed_and_number_make_the_same_exam():
    first, again = make_exam(_options(), 3), make_exam(_options(), 3)
    np.testing.assert_array_equal(first.hu, again.hu)
    np.testing.assert_array_equal(first.subtypes, again.subtypes)
    assert first.sop_uids == again.sop_uids


def test_another_seed_or_number_makes_another_exam():
    exams = [make_exam(_options(), 3), make_exam(_options(), 4), make_exam(_options(seed=1), 3)]
    assert len({exam.hu.tobytes() for exam in exams}) == 3
    assert len({exam.patient_id for exam in exams}) == 3
    assert len({uid for exam in exams for uid in exam.sop_uids}) == sum(len(exam.sop_uids) for exam in exams)


def test_every_eighth_exam_is_a_second_one_of_the_patient_before():
    sixth, seventh = make_exam(_options(), 6), make_exam(_options(), 7)
    assert sixth.patient_id == seventh.patient_id
    assert sixth.study_uid != seventh.study_uid


def test_attenuation_is_that_of_a_head():
    exam = make_exam(_options(exam_rate=0.0), 0)
    middle = exam.hu[len(exam.hu) // 2].astype(int)
    size = middle.shape[0]
    centre = middle[size // 2 - 20 : size // 2 + 20, size // 2 - 16 : size // 2 + 16]
    assert 20 < np.median(centre) < 45  # brain
    assert (middle > 800).sum() > 200  # a ring of bone
    assert (middle < -900).mean() > 0.3  # air around it
    assert exam.blood.sum() == 0
    assert exam.subtypes.sum() == 0


def test_a_slice_is_positive_when_its_blood_covers_more_than_the_stated_area():
    exam = make_exam(_options(exam_rate=1.0, min_blood_area_mm2=100.0), 1)
    pixel_area = exam.geometry.pixel_mm**2
    for number in range(len(SUBTYPES)):
        areas = exam.blood[number].sum(axis=(1, 2)) * pixel_area
        np.testing.assert_array_equal(exam.subtypes[:, number], areas > 100)
    assert exam.subtypes.any(axis=0).all()


def test_blood_is_brighter_than_brain():
    exam = make_exam(_options(exam_rate=1.0), 1)
    for number, name in enumerate(SUBTYPES):
        inside = exam.hu[exam.blood[number]]
        assert 44 < np.median(inside) < 90, name


def test_about_the_stated_share_of_exams_shows_each_subtype():
    shown = [make_exam(_options(exam_rate=0.4, rows=64), i).subtypes.any(axis=0) for i in range(40)]
    share = np.mean(shown, axis=0)
    # 40 exams at 0.4: three standard deviations are 0.23
    assert (np.abs(share - 0.4) < 0.24).all(), share


def test_epidural_blood_touches_the_inner_table_and_is_thick_in_its_middle(fields):
    for mask in _masks(fields, "epidural"):
        depth = -fields.cavity_mm[mask]
        assert depth.min() < 2.0
        assert 4 < depth.max() < 30


def test_subdural_blood_lies_along_one_hemisphere_and_is_thin_and_long(fields):
    for mask in _masks(fields, "subdural"):
        x, y = fields.head.x[mask], fields.head.y[mask]
        assert max((x > 0).mean(), (x < 0).mean()) == 1.0
        along_the_table = mask & (np.abs(fields.head.x) > 15)
        assert np.ptp(y) > 50
        assert np.percentile(-fields.cavity_mm[along_the_table], 95) < 16


def test_subarachnoid_blood_takes_the_place_of_csf_outside_the_ventricles(fields):
    for mask in _masks(fields, "subarachnoid"):
        assert fields.brain[mask].mean() < 0.5
        assert (fields.ventricle_mm[mask] > 0).mean() > 0.95


def test_intraventricular_blood_lies_in_the_ventricles_and_sinks_to_the_back(fields):
    ventricles = (fields.ventricle_mm < 0.7) & (fields.cavity_mm < -8)
    for mask in _masks(fields, "intraventricular"):
        assert (fields.ventricle_mm[mask] < 2).all()
        assert fields.head.y[mask].mean() < fields.head.y[ventricles].mean() + 3


def test_intraparenchymal_blood_lies_in_tissue_away_from_the_table_with_oedema_around(fields):
    for mask in _masks(fields, "intraparenchymal"):
        assert mask.any()
        assert -fields.cavity_mm[mask].max() > 1.0
        assert fields.brain[mask].mean() > 0.7
    lesion = BLEEDS["intraparenchymal"](fields, np.random.default_rng(3))
    rim = oedema_rim(lesion, fields, np.random.default_rng(4))
    assert rim[lesion > 0.9].max() < 0.15
    assert rim.max() > 0.3


def test_slices_lie_along_the_normal_with_a_tilted_gantry():
    geometry = Geometry(rows=64, pixel_mm=4.0, num_slices=3, step_mm=5.0, tilt_degrees=30.0)
    first, second = np.array(geometry.position(0)), np.array(geometry.position(1))
    normal = np.cross(geometry.orientation[:3], geometry.orientation[3:])
    # The table moves 5 mm along z; along the normal that is 5 cos 30 degrees.
    np.testing.assert_allclose(second - first, [0, 0, 5], atol=1e-9)
    assert (second - first) @ normal == pytest.approx(5 * np.cos(np.pi / 6))


@pytest.mark.parametrize(
    ("name", "value"),
    [("seed", -1), ("exam_rate", 1.5), ("rows", 63), ("rows", 2048), ("min_blood_area_mm2", -1.0)],
)
def test_options_out_of_range_are_refused(name, value):
    with pytest.raises(OptionError, match=name):
        _options(**{name: value})

import numpy as np
import pytest

from ich_mlflow.evaluation.blood import BloodSlices, blood_table, counted, mean_over_patients, of_exams

IPH, SDH, UNNAMED = 2, 16, 32
ANY, INTRAPARENCHYMAL, SUBDURAL = 0, 2, 5


def exam(found, blood, *, ml=0.5, exam="e", patient="p"):
    """A slice a row of pixels, each worth `ml` millilitres."""
    found, blood = (np.array(one, np.uint8)[:, None] for one in (found, blood))
    return counted(found, blood, pixel_ml=np.full(len(found), ml), exam=exam, patient=patient)


def table(*exams, **options):
    found = blood_table(BloodSlices.together(list(exams)), num_resamples=200, **options)
    return found.set_index(["metric", "label"])


BLED = exam([[IPH, IPH, SDH, 0], [0, 0, 0, IPH]], [[IPH, SDH, SDH, SDH], [0, 0, 0, 0]])
EMPTY = exam([[SDH, 0, 0, 0]], [[0, 0, 0, 0]], exam="f", patient="q")


def test_dice_is_of_the_whole_exam_and_of_each_subtype_by_hand():
    # 4 pixels found, 4 there, 3 both: 6 / 8. Intraparenchymal 3 found, 1 there, 1 both: 2 / 4.
    # Subdural 1 found, 3 there, 1 both: 2 / 4
    assert of_exams(BLED, ANY).dice.tolist() == [0.75]
    assert of_exams(BLED, INTRAPARENCHYMAL).dice.tolist() == [0.5]
    assert of_exams(BLED, SUBDURAL).dice.tolist() == [0.5]
    assert np.isnan(of_exams(EMPTY, ANY).dice).all()


def test_millilitres_of_exams_with_blood_and_of_those_without():
    found = table(BLED, EMPTY)
    assert found.loc[("dice", "any"), ["value", "exams", "patients"]].tolist() == [0.75, 1, 1]
    # intraparenchymal: 0.5 ml there, 1.5 found. Subdural: 1.5 there, 0.5 found
    assert found.loc[("ml", "intraparenchymal"), "value"] == 0.5
    assert found.loc[("ml_error", "intraparenchymal"), "value"] == 1
    assert found.loc[("ml_bias", "subdural"), "value"] == -1
    assert found.loc[("ml_error", "subdural"), "value"] == 1
    assert found.loc[("ml_where_none", "any"), "value"] == 0.5
    # of epidural blood there is none in either, and none is found
    assert found.loc[("ml_where_none", "epidural"), ["value", "exams"]].tolist() == [0, 2]
    assert ("dice", "epidural") not in found.index


def test_blood_without_a_name_is_any_blood_and_no_subtypes():
    mixed = exam([[IPH, SDH], [IPH, 0]], [[UNNAMED, UNNAMED], [IPH, IPH]])
    assert of_exams(mixed, ANY).dice.tolist() == pytest.approx([6 / 7])
    # of the second slice alone: 1 found, 2 there, 1 both
    assert of_exams(mixed, INTRAPARENCHYMAL).dice.tolist() == pytest.approx([2 / 3])
    assert not of_exams(mixed, SUBDURAL).shows.any()


def test_without_sizes_of_pixels_there_is_dice_and_no_volume():
    found = table(exam([[IPH]], [[IPH]], ml=np.nan))
    assert found.loc[("dice", "any"), "value"] == 1
    assert "ml_error" not in found.index.get_level_values("metric")


def test_an_interval_is_over_patients_and_needs_three():
    two = mean_over_patients(np.array([0.2, 0.4, 0.9]), np.array(["a", "a", "b"]), is_share=True)
    assert (two["value"], two["patients"]) == (0.5, 2)
    assert np.isnan(two["low"])
    four = mean_over_patients(np.array([1.0, 2, 3, 6]), np.array(list("abcd")), is_share=False)
    # Student's t of the four: 3 -+ 3.182 * 2.160 / 2, as far as 2,000 resamples tell
    assert [four["low"], four["high"]] == pytest.approx([-0.44, 6.44], abs=0.25)
    # slices of one patient that say the same are no more than one of it
    doubled = mean_over_patients(
        np.repeat([1.0, 2, 3, 6], 5), np.repeat(np.array(list("abcd")), 5), is_share=False
    )
    assert [doubled["low"], doubled["high"]] == pytest.approx([four["low"], four["high"]])

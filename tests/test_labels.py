import numpy as np
import pytest

from ich_mlflow.errors import OptionError
from ich_mlflow.labels import SCHEMES, SUBTYPES, class_scheme, scheme_of_labels, with_any

EPIDURAL_ONLY = [1, 0, 0, 0, 0]
EPIDURAL_AND_SUBDURAL = [1, 0, 0, 0, 1]
NORMAL = [0, 0, 0, 0, 0]
LABELS = np.array([EPIDURAL_ONLY, EPIDURAL_AND_SUBDURAL, NORMAL])


def test_subtypes_stand_in_the_order_of_the_rsna_table():
    assert SUBTYPES == ("epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural")


def test_four_classes_leave_epidural_out():
    assert class_scheme(4).targets(LABELS).tolist() == [[0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]]


def test_five_classes_are_the_subtypes_as_they_are():
    assert class_scheme(5).targets(LABELS).tolist() == LABELS.tolist()


def test_six_classes_end_with_any():
    assert class_scheme(6).targets(LABELS)[:, 5].tolist() == [1, 1, 0]


def test_targets_are_float32():
    assert class_scheme(6).targets(LABELS).dtype == np.float32


def test_only_four_classes_leave_a_bleed_unrepresented():
    assert class_scheme(4).unrepresented(LABELS).tolist() == [True, False, False]
    assert not class_scheme(5).unrepresented(LABELS).any()
    assert not class_scheme(6).unrepresented(LABELS).any()


def test_labels_of_the_wrong_width_are_refused():
    with pytest.raises(ValueError, match=r"\(3, 4\)"):
        class_scheme(5).targets(LABELS[:, :4])


@pytest.mark.parametrize("num_classes", [0, 3, 7, "5"])
def test_an_unknown_number_of_classes_is_refused_with_a_fix(num_classes):
    with pytest.raises(OptionError, match="-P num_classes=5"):
        class_scheme(num_classes)


def test_a_scheme_is_found_by_its_labels_and_by_no_others():
    for scheme in SCHEMES.values():
        assert scheme_of_labels(list(scheme.labels)) is scheme
    with pytest.raises(OptionError, match="subdural"):
        scheme_of_labels(["subdural"])


def test_models_are_named_by_their_number_of_classes():
    assert [scheme.model_name for scheme in SCHEMES.values()] == ["ich-4class", "ich-5class", "ich-6class"]


def test_any_is_a_finding_of_every_scheme_after_its_labels():
    for scheme in SCHEMES.values():
        assert scheme.findings == (*[label for label in scheme.labels if label != "any"], "any")


def test_any_is_of_all_five_subtypes_also_where_the_scheme_has_no_label_for_one():
    # the first slice's only bleed is epidural, which four classes can't name
    assert class_scheme(4).finding_targets(LABELS)[:, -1].tolist() == [True, True, False]
    assert class_scheme(5).finding_targets(LABELS).dtype == bool


def test_any_is_what_speaks_most_for_a_bleed_unless_the_network_has_an_output_of_its_own():
    outputs = np.array([[0.1, 0.7, 0.2, 0.0, 0.3]])
    assert with_any(outputs, SUBTYPES).tolist() == [[0.1, 0.7, 0.2, 0.0, 0.3, 0.7]]
    own = np.array([[0.1, 0.7, 0.2, 0.0, 0.3, 0.6]])
    assert with_any(own, class_scheme(6).labels) is own

from dataclasses import replace

import numpy as np

from ich_mlflow.dataset.build import BuildOptions, build_stored_set
from ich_mlflow.labels import class_scheme
from ich_mlflow.stages.common.specification import columns, from_validation
from tests.conftest import LABELS
from tests.factories import ArraySource


class _OneStudyOfTwo(ArraySource):
    """Patients 0 and 6, both with an epidural bleed, have one study: a PatientID that was changed."""

    def read(self, file):
        ct_slice = super().read(file)
        shared = ct_slice.patient_id in ("p000", "p006")
        return replace(ct_slice, study_uid="shared") if shared else ct_slice


def test_patients_that_share_a_study_are_one_patient_and_their_study_one_exam(tmp_path):
    source = _OneStudyOfTwo(tmp_path, LABELS, slices_per_patient=4)
    stored = build_stored_set(source, tmp_path / "set", BuildOptions(seed=0, workers=1), progress=False)
    where = columns(stored, np.arange(72))
    assert set(where.patients[where.studies == "shared"]) == {"p000"}
    assert len(set(where.patients)) == 17
    # what training packs is chosen all the same, with one exam fewer than patients were given
    rows = stored.rows("validation")
    found = from_validation(
        stored, np.full((len(rows), 5), 0.5), class_scheme(5), calibration="none", rule="max_f1"
    )
    assert len(found.exam_predictions.targets) == len(set(where.studies[rows]))


def test_any_is_chosen_for_beside_the_labels_of_the_network_and_has_null_models(stored_set):
    rows = stored_set.rows("validation")
    for num_classes in (4, 5, 6):
        scheme = class_scheme(num_classes)
        outputs = np.random.default_rng(0).random((len(rows), num_classes))
        found = from_validation(stored_set, outputs, scheme, calibration="auto", rule="sensitivity_90")
        packed = found.specification(stored_set, run_id="r", weights="random", recipe="demo")
        assert packed.labels == scheme.labels
        for chosen in (packed.slices, packed.exams):
            assert [one.label for one in chosen.calibrations] == list(packed.findings)
            assert "none" not in [one.method for one in chosen.calibrations]
            assert [one.label for one in chosen.operating_points["sensitivity_90"]] == list(packed.findings)
        assert packed.exam_null_model.probabilities(np.zeros(1)).shape == (1, len(packed.findings))
        assert found.slice_predictions.labels == packed.findings

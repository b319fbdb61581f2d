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
    patients, studies, _ = columns(stored, np.arange(72))
    assert set(patients[studies == "shared"]) == {"p000"}
    assert len(set(patients)) == 17
    # what training packs is chosen all the same, with one exam fewer than patients were given
    rows = stored.rows("validation")
    found = from_validation(
        stored, np.full((len(rows), 5), 0.5), class_scheme(5), calibration="none", rule="max_f1"
    )
    assert len(found.exam_predictions.targets) == len(set(studies[rows]))

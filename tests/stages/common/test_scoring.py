from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from ich_mlflow.dataset.build import BuildOptions, build_stored_set
from ich_mlflow.errors import ModelError
from ich_mlflow.evaluation.calibration import Calibration
from ich_mlflow.evaluation.chosen import Chosen
from ich_mlflow.evaluation.null_models import NullModel
from ich_mlflow.evaluation.operating_point import RULES, OperatingPoint
from ich_mlflow.labels import SUBTYPES
from ich_mlflow.serving.classifier import Specification
from ich_mlflow.stages.common.scoring import expect_unseen, score
from tests.conftest import LABELS
from tests.factories import ArraySource


class _Renamed(ArraySource):
    """The same slices with some of their names changed."""

    names: tuple[str, ...] = ()

    def read(self, file):
        ct_slice = super().read(file)
        return replace(ct_slice, **{name: f"new {getattr(ct_slice, name)}" for name in self.names})


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ((), "patients of the test split"),
        (("patient_id",), "studies of the test split"),
        (("patient_id", "study_uid"), "series of the test split"),
        (("patient_id", "study_uid", "series_uid"), ""),
    ],
)
def test_a_copy_whose_patients_are_renamed_is_still_known_by_its_studies(stored_set, tmp_path, names, said):
    source = _Renamed(tmp_path, LABELS, slices_per_patient=4)
    source.names = names
    options = BuildOptions(seed=0, workers=1, external=True)
    copy = build_stored_set(source, tmp_path / "set", options, progress=False)
    model = SimpleNamespace(data_digest=stored_set.digest)
    if not said:
        assert expect_unseen(model, copy, str(stored_set.path))
        return
    with pytest.raises(ModelError, match=said):
        expect_unseen(model, copy, str(stored_set.path))


def _points(threshold):
    return {
        rule: tuple(
            OperatingPoint(
                label=label, threshold=threshold + 0.1 * number, sensitivity=1, specificity=1, rule=rule
            )
            for label in SUBTYPES
        )
        for number, rule in enumerate(RULES)
    }


def _chosen(x, y, threshold):
    calibrations = tuple(Calibration(label=label, method="isotonic", x=x, y=y) for label in SUBTYPES)
    return Chosen(calibrations=calibrations, operating_points=_points(threshold))


class _Fixed:
    """A network that says 0.4 of every slice with an even number of HU and 0.8 of the others."""

    specification = Specification(
        labels=SUBTYPES,
        slices=_chosen((0.4, 0.8), (0.5, 0.8), 0.1),
        exams=_chosen((0.8, 1.0), (0.2, 0.4), 0.2),
        aggregation="noisy_or",
        null_models={"prevalence": NullModel(shares=np.full((1, 5), 0.25), operating_points=_points(0.3))},
        exam_null_model=NullModel(shares=np.full((1, 5), 0.6), operating_points=_points(0.4)),
        run_id="",
        trained_on="",
        data_digest="",
        weights="",
        recipe="",
    )

    def uncalibrated(self, hu):
        said = np.where(hu[:, 0, 0, 0] % 2 == 0, 0.4, 0.8)
        return np.repeat(said[:, None], 5, axis=1).astype(np.float32)


def test_slices_are_calibrated_put_together_and_calibrated_again_as_exams(tmp_path):
    source = ArraySource(tmp_path, [[1, 0, 0, 0, 0], [0, 0, 0, 0, 0]], slices_per_patient=2)
    options = BuildOptions(seed=0, workers=1, external=True)
    scored = score(
        _Fixed(), build_stored_set(source, tmp_path / "set", options, progress=False), rule="sensitivity_95"
    )
    # slices from the feet up: 0.8 and 0.4, calibrated 0.8 and 0.5; 1 - 0.2 * 0.5 = 0.9, calibrated 0.3
    np.testing.assert_allclose(scored.uncalibrated[:, 0], [0.8, 0.4, 0.8, 0.4])
    np.testing.assert_allclose(scored.slices.probabilities[:, 0], [0.8, 0.5, 0.8, 0.5], atol=1e-6)
    np.testing.assert_allclose(scored.exams.probabilities, 0.3, atol=1e-6)
    assert scored.exams.targets[:, 0].tolist() == [True, False]
    # thresholds of the second rule, each predictor's own
    for predictions, threshold in (
        (scored.slices, 0.2),
        (scored.exams, 0.3),
        (scored.null_models["prevalence"], 0.4),
        (scored.exam_null_models["prevalence"], 0.5),
    ):
        np.testing.assert_allclose(predictions.thresholds, threshold)
    np.testing.assert_allclose(scored.exam_null_models["prevalence"].probabilities, 0.6)

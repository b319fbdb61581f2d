from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from ich_mlflow.dataset.build import BuildOptions, build_stored_set
from ich_mlflow.errors import ModelError
from ich_mlflow.evaluation.calibration import Calibration
from ich_mlflow.evaluation.chosen import Chosen
from ich_mlflow.evaluation.null_models import NullModel
from ich_mlflow.evaluation.operating_point import RULES
from ich_mlflow.labels import SUBTYPES, findings_of
from ich_mlflow.models.ancestry import IMAGENET, Ancestry, not_known
from ich_mlflow.models.family import Reading
from ich_mlflow.serving.classifier import Specification
from ich_mlflow.stages.common.scoring import LoadedModel, expect_unseen, say_not_known, score
from ich_mlflow.stages.common.stored_sets import learned_from
from tests.conftest import LABELS
from tests.factories import ArraySource
from tests.serving.test_response import point

FINDINGS = findings_of(SUBTYPES)


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
    model = _model(learned_from(stored_set, by="run 1"))
    if not said:
        assert expect_unseen(model, copy) == ()
        return
    with pytest.raises(ModelError, match=said):
        expect_unseen(model, copy)


def _model(*ancestors):
    classifier = SimpleNamespace(ancestry=Ancestry(ancestors))
    return LoadedModel(uri="models:/m/1", trained_run="r", trained_path="/own", classifier=classifier)


def _split(stored, **patients):
    """The set with those patients, numbered as LABELS, in train, validation and test; the others are left out."""
    numbers = stored.table["patient_id"].str.removeprefix("p").astype(int)
    table = stored.table.assign(split="")
    for split, chosen in patients.items():
        table.loc[numbers.isin(chosen), "split"] = split
    return replace(stored, table=table[table["split"] != ""].reset_index(drop=True))


def test_the_test_split_of_the_models_own_set_was_not_learned_from_and_needs_no_set_on_disk(stored_set):
    own = learned_from(_split(stored_set, train=[0, 1], validation=[2], test=[3]), by="run 1")
    assert expect_unseen(_model(own), _split(stored_set, test=[3])) == ()
    for seen in (0, 1, 2):
        with pytest.raises(ModelError) as refusal:
            expect_unseen(_model(own), _split(stored_set, train=[4], test=[3, seen]))
    assert str(refusal.value) == (
        f"1 patients of the test split of {stored_set.path} were in the training or validation split of models:/m/1, "
        f"run 1 (3 patients of array, digest {stored_set.digest[:12]}): expected none; evaluate on other patients, or "
        "on the test split of its own set (-P data=/own)"
    )


def test_the_own_test_split_is_refused_where_an_ancestor_learned_from_it(stored_set):
    grandparent = learned_from(_split(stored_set, train=[3, 4, 5], validation=[6], test=[0]), by="run 1")
    own = learned_from(_split(stored_set, train=[0, 1], validation=[2], test=[3, 4]), by="run 3")
    with pytest.raises(ModelError) as refusal:
        expect_unseen(_model(grandparent, IMAGENET, own), _split(stored_set, test=[3, 4]))
    said = str(refusal.value)
    assert "2 patients of the test split" in said
    assert "of what the weights of models:/m/1 come from, run 1 (4 patients of array" in said
    assert said.endswith("or train it from other weights")


def test_a_fold_that_validates_was_seen_as_those_that_train(tmp_path):
    source = ArraySource(tmp_path, LABELS, slices_per_patient=4)
    options = BuildOptions(seed=0, workers=1, folds=3)
    stored = build_stored_set(source, tmp_path / "set", options, progress=False)
    for number in range(3):
        model = _model(learned_from(stored.with_fold(number), by="run 1"))
        assert expect_unseen(model, stored) == ()
        fold = stored.table["fold"] == number
        as_test = replace(stored, table=stored.table.assign(split=np.where(fold, "test", "train")))
        with pytest.raises(ModelError, match="patients of the test split"):
            expect_unseen(model, as_test)


def test_ancestors_of_which_nothing_is_known_are_named_and_shared_patients_come_first(stored_set):
    own = learned_from(_split(stored_set, train=[0, 1], validation=[2], test=[3]), by="run 1")
    model = _model(*not_known("file:old.keras").ancestors, own)
    names = expect_unseen(model, _split(stored_set, test=[3]))
    assert names == ("file:old.keras",)
    assert say_not_known(names) == (
        "it is not known what file:old.keras learned from, so shared patients can't be ruled out"
    )
    with pytest.raises(ModelError, match="1 patients of the test split"):
        expect_unseen(model, _split(stored_set, test=[0]))


def _chosen(x, y, threshold):
    """Isotonic calibrations through (x, y), and a threshold a tenth higher from rule to rule."""
    points = {
        rule: tuple(point(label, threshold + 0.1 * number, rule) for label in FINDINGS)
        for number, rule in enumerate(RULES)
    }
    calibrations = tuple(Calibration(label=label, method="isotonic", x=x, y=y) for label in FINDINGS)
    return Chosen(calibrations=calibrations, operating_points=points)


def _null_model(share, threshold):
    points = _chosen((0.0,), (0.0,), threshold).operating_points
    return NullModel(shares=np.full((1, 6), share), operating_points=points)


class _Fixed:
    """A network that says 0.4 of every slice with an even number of HU and 0.8 of the others."""

    specification = Specification(
        labels=SUBTYPES,
        slices=_chosen((0.4, 0.8), (0.5, 0.8), 0.1),
        exams=_chosen((0.4, 0.8), (0.1, 0.5), 0.2),
        aggregation="mean_of_2",
        null_models={"prevalence": _null_model(0.25, 0.3)},
        exam_null_model=_null_model(0.6, 0.4),
        run_id="",
        trained_on="",
        data_digest="",
        weights="",
        recipe="",
    )

    def predict_series(self, hu, position_mm):
        said = np.where(hu[:, 0, 0] % 2 == 0, 0.4, 0.8)
        return Reading(np.repeat(said[:, None], 5, axis=1).astype(np.float32))


def test_slices_are_calibrated_and_exams_put_together_of_what_the_network_said(tmp_path):
    source = ArraySource(tmp_path, [[1, 0, 0, 0, 0], [0, 0, 0, 0, 0]], slices_per_patient=2)
    options = BuildOptions(seed=0, workers=1, external=True)
    stored = build_stored_set(source, tmp_path / "set", options, progress=False)
    scored = score(_Fixed(), stored, rule="youden")
    assert scored.slices.labels == scored.exams.labels == FINDINGS
    # slices from the feet up: 0.8 and 0.4, calibrated 0.8 and 0.5; their mean 0.6, calibrated as exams are: 0.3
    np.testing.assert_allclose(scored.outputs[:, 0], [0.8, 0.4, 0.8, 0.4])
    np.testing.assert_allclose(scored.slices.scores[:, 5], [0.8, 0.4, 0.8, 0.4], atol=1e-6)
    np.testing.assert_allclose(scored.slices.probabilities[:, 5], [0.8, 0.5, 0.8, 0.5], atol=1e-6)
    np.testing.assert_allclose(scored.exams.scores, 0.6, atol=1e-6)
    np.testing.assert_allclose(scored.exams.probabilities, 0.3, atol=1e-6)
    # any is where epidural is
    assert scored.exams.targets[:, [0, 5]].tolist() == [[True, True], [False, False]]
    # thresholds of the second rule, each predictor's own
    for predictions, threshold in (
        (scored.slices, 0.2),
        (scored.exams, 0.3),
        (scored.null_models["prevalence"], 0.4),
        (scored.exam_null_models["prevalence"], 0.5),
    ):
        np.testing.assert_allclose(predictions.thresholds, threshold)
    np.testing.assert_allclose(scored.exam_null_models["prevalence"].probabilities, 0.6)

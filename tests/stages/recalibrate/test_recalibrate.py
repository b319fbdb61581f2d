"""Recalibrating a version of known quality by the real stage: what is made, logged and said, and every mistake."""

import contextlib
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

from ich_mlflow.dataset.build import BuildOptions, build_stored_set
from ich_mlflow.dicom.slice import Slice
from ich_mlflow.errors import DataError, IchError, ModelError, OptionError
from ich_mlflow.evaluation.calibration import PLATT
from ich_mlflow.serving.packaging import load_classifier, network_digest
from ich_mlflow.stages.common.scoring import load_model
from ich_mlflow.stages.common.stored_sets import NO_LABELS, OF_STUDIES
from ich_mlflow.stages.evaluate.evaluate import evaluate
from ich_mlflow.stages.evaluate.options import EvaluateOptions
from ich_mlflow.stages.promote.options import PromoteOptions
from ich_mlflow.stages.promote.promote import promote_candidate
from ich_mlflow.stages.recalibrate import local as local_module
from ich_mlflow.stages.recalibrate import recalibrate as module
from ich_mlflow.stages.recalibrate.options import RecalibrateOptions
from ich_mlflow.stages.recalibrate.recalibrate import recalibrate
from ich_mlflow.tracking.registry import alias_version, full_model_uri, training_run
from tests.printed import check_printed_commands
from tests.public_surface.adapter import newest_run, run_stage
from tests.stages.promote.contenders import BandSource, make_arena, make_set, quick, train_contender

NAME = "ich-5class"


class BrightSource(BandSource):
    """Other patients than BandSource's, and 40 HU more in every pixel: all labels look likelier than they are."""

    def read(self, file):
        plain = super().read(file)
        names = ("patient_id", "study_uid", "series_uid")
        renamed = {name: f"bright-{getattr(plain, name)}" for name in names}
        return Slice(**{**vars(plain), **renamed, "hu": plain.hu + np.int16(40)})


@pytest.fixture(scope="module")
def home(workspace, tmp_path_factory):
    return make_arena(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def elsewhere(workspace, tmp_path_factory):
    """The local exams: other patients, whose scanner says 40 HU more."""
    folder = tmp_path_factory.mktemp("elsewhere")
    labels = (np.random.default_rng(3).random(size=(200, 5)) < 0.12).astype(int).tolist()
    source = BrightSource(folder, labels, slices_per_patient=2)
    options = BuildOptions(seed=0, workers=1, fractions=(0.4, 0.1, 0.5))
    return build_stored_set(source, folder / "set", options, progress=False)


@pytest.fixture(scope="module")
def registered(home, own_store):
    """A middling model, registered and champion."""
    trained = train_contender(home, 0.3)
    made = mlflow.register_model(training_run(trained).model_uri, NAME, tags={"ich.run_id": trained})
    mlflow.MlflowClient().set_registered_model_alias(NAME, "champion", made.version)
    return f"models:/{NAME}/{made.version}"


def options(stored, **said):
    return RecalibrateOptions(data=str(stored.path), **{"model": f"{NAME}/1", "resamples": 200, **said})


class Made:
    """A recalibration with what it printed."""

    def __init__(self, uri, printed):
        self.uri, self.printed, self.run = uri, printed, newest_run("recalibrate")
        self.version = mlflow.MlflowClient().get_model_version(*uri.removeprefix("models:/").split("/"))

    def text(self, path):
        return mlflow.artifacts.load_text(f"runs:/{self.run.info.run_id}/{path}")


@pytest.fixture(scope="module")
def made(registered, elsewhere):
    """On patients outside the local set's test split."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        uri = recalibrate(options(elsewhere, test_split=False))
    return Made(uri, printed.getvalue())


def test_the_networks_are_the_same_and_what_was_chosen_is_not(made, registered):
    before, after = load_classifier(registered), load_classifier(made.uri)
    assert network_digest(before.folder) == network_digest(after.folder)
    assert made.version.tags["ich.network_digest"] == network_digest(after.folder)
    same = {"serving.json", "ancestry.npz", "integrity.json"}
    files = [path.relative_to(before.folder) for path in before.folder.rglob("*") if path.is_file()]
    assert {path.name for path in files} > same
    for path in files:
        is_same = (before.folder / path).read_bytes() == (after.folder / path).read_bytes()
        assert is_same == (path.name not in same), path
    old, new = before.specification, after.specification
    unchanged = replace(
        new, slices=old.slices, exams=old.exams, abstention=old.abstention, recalibrated_on=""
    )
    assert unchanged.to_dict() == old.to_dict()
    assert all(one.method == PLATT for one in new.exams.calibrations)
    # abstention of the local exams, which are enough for its promise
    assert old.abstention is not None
    assert new.abstention is not None
    assert new.abstention.bleeding_patients > old.abstention.bleeding_patients
    assert new.abstention.clear_below != old.abstention.clear_below
    assert "Abstention: " in made.printed
    assert (
        new.recalibrated_on.startswith("130 patients of array") or "patients of array" in new.recalibrated_on
    )


def test_the_version_says_where_it_comes_from_and_is_the_candidate(made, registered, elsewhere):
    tags = made.version.tags
    assert tags["ich.recalibrated_from"] == registered
    assert tags["ich.run_id"] == made.run.info.run_id
    assert tags["ich.data.source"] == "array"
    assert elsewhere.digest[:12] in tags["ich.recalibrated_on"]
    assert alias_version(NAME, "candidate") == str(made.version.version)
    assert "not a medical device" in made.version.description
    params = made.run.data.params
    assert params["local.digest"] == elsewhere.digest
    assert params["hp.num_classes"] == "5"
    assert params["data.path"] != params["local.path"]
    assert (
        full_model_uri(f"runs:/{made.run.info.run_id}/serving") == made.run.data.tags["ich.serving_model_uri"]
    )


def test_the_run_holds_page_table_and_pictures(made):
    assert made.run.info.run_name == f"recalibrate {NAME} v1 on array"
    table = pd.DataFrame(**_split(json.loads(made.text("tables/recalibrate.json"))))
    assert set(table["unit"]) == {"slices", "exams"}
    row = table.set_index(["unit", "metric", "label"]).loc[("exams", "brier_skill", "any")]
    assert row["difference"] == pytest.approx(row["after"] - row["before"])
    assert row["after_low"] < row["after"] < row["after_high"]
    assert row["difference_low"] > 0
    metrics = made.run.data.metrics
    assert metrics["any_exam_brier_skill_after"] == pytest.approx(row["after"])
    assert metrics["any_exam_brier_skill_before"] == pytest.approx(row["before"])
    page = made.text("recalibrate.html")
    assert "not a medical device" in page
    assert page.count("<img") == 2
    assert "Any bleed of exams, cross-fitted over" in page
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    assert made.run.inputs.dataset_inputs[0].dataset.name == "array-local"


def _split(table):
    return {"data": table["data"], "columns": table["columns"]}


def test_what_is_printed_is_a_table_the_answer_and_what_comes_next(made, elsewhere):
    assert "exams: calibration slope" in made.printed
    assert "Any bleed of exams, cross-fitted over" in made.printed
    assert f"{NAME} version 2 is registered with the alias candidate" in made.printed
    assert (
        f"next: mlflow run . -e promote -P run={made.run.info.run_id} -P data={elsewhere.path} -P same_data=false"
        in made.printed
    )
    assert check_printed_commands(made.printed)
    page = made.printed.rstrip().splitlines()[-1].removeprefix("page: ")
    assert Path(page).read_text(encoding="utf-8") == made.text("recalibrate.html")
    (command,) = re.findall(r"mlflow run \. -e recalibrate[^<]*", made.text("recalibrate.html"))
    check_printed_commands(command)


def test_patients_who_took_part_are_no_test_patients_any_more(made, elsewhere):
    seen = np.flatnonzero(elsewhere.table["split"].to_numpy() != "test")
    ancestry = load_model(made.uri).ancestry
    assert ancestry.ancestors[-1].name == f"recalibration in run {made.run.info.run_id}"
    ids = {one: elsewhere.table[one].iloc[seen] for one in ("patient_id", "study_uid", "series_uid")}
    assert ancestry.shared_with(ids)
    with pytest.raises(ModelError, match=r"recalibration in run .* recalibrate on other patients") as raised:
        recalibrate(options(elsewhere, model=made.uri))
    _one_line(raised)


def test_the_other_local_patients_test_it_and_promote_makes_it_champion(
    made, elsewhere, registered, monkeypatch
):
    quick(monkeypatch)
    told = {"resamples": 200, "smoke": False, "max_latency_ms": 1e6, "same_data": False}
    decision = promote_candidate(PromoteOptions(run=made.run.info.run_id, data=str(elsewhere.path), **told))
    assert decision.promote, decision.lines()
    assert "AUC: the networks are the champion's, so the AUC is the same" in decision.why()
    assert alias_version(NAME, "champion") == str(made.version.version)


def test_without_other_data_it_is_evaluated_on_what_its_networks_learned_from(made, home, monkeypatch):
    quick(monkeypatch)
    evaluated = evaluate(EvaluateOptions(model=made.uri, resamples=100))
    assert evaluated.scored.stored.digest == home.digest


def test_labels_of_exams_alone_leave_slices_as_they_are(registered, elsewhere, monkeypatch):
    monkeypatch.setattr(local_module, "label_level", lambda stored: OF_STUDIES)
    uri = recalibrate(options(elsewhere, operating_point="sensitivity_95"))
    old, new = (load_classifier(one).specification for one in (registered, uri))
    assert new.slices == old.slices
    assert new.exams != old.exams
    assert new.decides_by == "sensitivity_95"


def test_labels_of_too_few_stay_and_are_named(registered, elsewhere, capsys):
    counts = local_module.local_exams(
        elsewhere, load_classifier(registered).specification, test_split=True
    ).counts
    least = sorted(one.rarer for label, one in counts.items() if label != "any")[1]
    if counts["any"].rarer < least:
        pytest.skip("any is the rarest")
    uri = recalibrate(options(elsewhere, min_patients=least))
    (stays,) = [label for label, one in counts.items() if one.rarer < least]
    assert f"so these stay as they are: {stays} (" in capsys.readouterr().out
    old, new = (load_classifier(one).specification for one in (registered, uri))
    place = old.findings.index(stays)
    for before, after in ((old.exams, new.exams), (old.slices, new.slices)):
        assert after.calibrations[place] == before.calibrations[place]
        assert after.operating_points["youden"][place] == before.operating_points["youden"][place]
        assert after.calibrations[place - 1] != before.calibrations[place - 1]


def _one_line(raised):
    assert "\n" not in str(raised.value)


def _refused(options, error, said):
    """It is refused in a line, and no version is registered."""
    before = len(mlflow.MlflowClient().search_model_versions(f"name = '{NAME}'"))
    with pytest.raises(error, match=said) as raised:
        recalibrate(options)
    _one_line(raised)
    assert len(mlflow.MlflowClient().search_model_versions(f"name = '{NAME}'")) == before


def test_too_few_patients_are_refused_with_what_it_would_take(registered, elsewhere):
    _refused(
        options(elsewhere, min_patients=120),
        DataError,
        r"has \d+ patients with a bleed and \d+ without, expected 120 or more of each: label exams of \d+ more ",
    )


def test_one_kind_alone_is_refused(registered, elsewhere, monkeypatch):
    table = elsewhere.table.assign(**dict.fromkeys(("epidural", "subdural"), 1))
    all_bleed = replace(elsewhere, table=table)
    monkeypatch.setattr(module.StoredSet, "open", lambda path: all_bleed)
    _refused(
        options(elsewhere),
        DataError,
        "has 200 patients with a bleed and 0 without.* label exams of 10 more without",
    )


def test_patients_that_the_networks_learned_from_are_refused(registered, home):
    _refused(options(home), ModelError, "were in the training or validation split of .*on other patients")


def test_a_set_without_labels_is_refused(registered, elsewhere, monkeypatch):
    monkeypatch.setattr(local_module, "label_level", lambda stored: NO_LABELS)
    _refused(options(elsewhere), DataError, "has no labels, expected a set with labels of exams or of slices")


def test_a_set_that_is_test_split_alone_can_t_be_kept_for_the_test(registered, elsewhere, monkeypatch):
    external = replace(elsewhere, table=elsewhere.table.assign(split="test"))
    monkeypatch.setattr(module.StoredSet, "open", lambda path: external)
    _refused(
        options(elsewhere, test_split=False),
        DataError,
        "are in its test split.*leave out -P test_split=false",
    )


def test_a_model_of_labels_that_are_no_class_scheme_is_refused(registered, elsewhere, monkeypatch):
    whole = module.load_model

    def load(text):
        model = whole(text)
        classifier = model.classifier
        classifier.specification = replace(classifier.specification, labels=("subdural", "thin"))
        return model

    monkeypatch.setattr(module, "load_model", load)
    _refused(options(elsewhere), OptionError, "no class scheme has the labels")


def test_a_version_that_this_package_can_t_read_is_refused(registered, elsewhere, tmp_path, monkeypatch):
    from ich_mlflow.serving.classifier import Specification

    def of_0_1(path):
        raise ModelError("serving.json of this model is not as this version of ich_mlflow writes it (…)")

    monkeypatch.setattr(Specification, "read", of_0_1)
    _refused(options(elsewhere), ModelError, "is not as this version")


def test_a_model_that_is_not_registered_is_refused(registered, elsewhere):
    uri = training_run(load_model(registered).trained_run).model_uri
    with pytest.raises(OptionError, match="a registered version"):
        options(elsewhere, model="runs:/abc/serving")
    with pytest.raises(IchError):
        recalibrate(options(elsewhere, model="ich-5class/99"))
    assert uri


def test_the_command_ends_with_one_line_and_exit_code_1(monkeypatch, capsys, tmp_path):
    assert run_stage(monkeypatch, "recalibrate") == 1
    error = capsys.readouterr().err
    assert error.startswith("error: data is 'auto', expected a stored set of local exams")
    assert error.count("\n") == 1
    assert run_stage(monkeypatch, "recalibrate", data=tmp_path) == 1
    assert "is no stored set" in capsys.readouterr().err


def test_few_patients_are_too_few(registered, tmp_path):
    few = make_set(tmp_path, seed=8, num_patients=12)
    _refused(options(few), (DataError, ModelError), "label exams of|were in the training")

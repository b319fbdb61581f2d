"""Comparing models of known quality by the real stage: what is logged and said, and each mistake in one line."""

import contextlib
import gc
import io
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import mlflow
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from ich_mlflow.errors import DataError, IchError, ModelError, OptionError
from ich_mlflow.evaluation.comparison import BASELINE, BETTER, COLUMNS
from ich_mlflow.labels import SUBTYPES
from ich_mlflow.models.ancestry import Ancestry
from ich_mlflow.serving.classifier import Classifier
from ich_mlflow.stages.common import scoring as scoring_module
from ich_mlflow.stages.common.stored_sets import OF_STUDIES, learned_from
from ich_mlflow.stages.compare import compare as module
from ich_mlflow.stages.compare import contenders as contenders_module
from ich_mlflow.stages.compare.compare import compare
from ich_mlflow.stages.compare.options import CompareOptions
from ich_mlflow.tracking.looks import look_of
from ich_mlflow.tracking.registry import training_run
from tests.printed import check_printed_commands
from tests.public_surface.adapter import run_stage
from tests.stages.promote.contenders import make_arena, make_set, train_contender

NAME = "ich-5class"


@pytest.fixture(scope="module")
def arena(workspace, tmp_path_factory):
    return make_arena(tmp_path_factory.mktemp("arena"))


@pytest.fixture(scope="module")
def runs(arena, own_store):
    """Training runs: of five classes by quality, one of four classes, and one whose weights saw another set's test."""
    found = {quality: train_contender(arena, quality) for quality in (0.0, 0.3, 1.0)}
    return {**found, "four": train_contender(arena, 0.6, num_classes=4)}


@pytest.fixture(scope="module")
def champion(runs):
    """The best one, registered and champion."""
    made = mlflow.register_model(training_run(runs[1.0]).model_uri, NAME, tags={"ich.run_id": runs[1.0]})
    mlflow.MlflowClient().set_registered_model_alias(NAME, "champion", made.version)
    return f"{NAME}@champion"


def options(*models, **said):
    return CompareOptions(models=",".join(models), **{"resamples": 200, **said})


class Ran:
    """A comparison with what it printed."""

    def __init__(self, found, printed):
        self.found, self.printed = found, printed
        self.run = mlflow.MlflowClient().get_run(found.run_id)

    def text(self, path):
        return mlflow.artifacts.load_text(f"runs:/{self.found.run_id}/{path}")


@pytest.fixture(scope="module")
def ran(runs, champion):
    """The worst as the baseline, beside one of four classes and the champion."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        found = compare(options(runs[0.0], f"runs:/{runs['four']}/serving", champion))
    return Ran(found, printed.getvalue())


def test_the_run_is_named_tagged_and_holds_page_table_and_pictures(ran, runs):
    bad, four = (f"run {runs[one][:8]}" for one in (0.0, "four"))
    assert ran.run.info.run_name == f"compare {bad} vs {four} vs {NAME} v1 on array"
    tags = ran.run.data.tags
    assert [tags[f"ich.trained_run.{i}"] for i in (1, 2, 3)] == [runs[0.0], runs["four"], runs[1.0]]
    assert tags["ich.model_uri.3"] == f"models:/{NAME}/1"
    assert tags["ich.baseline_run"] == runs[0.0]
    assert ran.run.inputs.dataset_inputs[0].dataset.name == "array-test"
    client = mlflow.MlflowClient()
    paths = {
        one.path
        for folder in ("", "figures", "tables")
        for one in client.list_artifacts(ran.found.run_id, folder)
    }
    assert {
        "compare.html", "compare.csv", "tables/compare.json", "figures/compare_slices.png",
        "figures/compare_exams.png",
    } <= paths  # fmt: skip


def test_figures_are_of_the_same_rows_and_of_the_labels_that_all_have(ran, arena, runs):
    table = pd.read_csv(mlflow.artifacts.download_artifacts(f"runs:/{ran.found.run_id}/compare.csv"))
    assert set(COLUMNS) <= set(table.columns)
    assert set(table["label"]) == {*SUBTYPES[1:], "any", "macro"}
    assert set(table["unit"]) == {"slices", "exams"}
    row = table.set_index(["unit", "metric", "label", "model"])
    predictions = ran.found.assessments["slices"][f"{NAME} v1"].predictions
    truth = arena.subtypes[arena.rows("test")].any(axis=1)
    auc = roc_auc_score(truth, predictions.scores[:, predictions.labels.index("any")])
    best = row.loc[("slices", "auc", "any", f"{NAME} v1")]
    worst = row.loc[("slices", "auc", "any", f"run {runs[0.0][:8]}")]
    assert best["value"] == pytest.approx(auc)
    assert best["difference"] == pytest.approx(best["value"] - worst["value"])
    assert best["difference_low"] > 0
    assert (best["said"], worst["said"]) == (BETTER, BASELINE)


def test_few_metrics_say_what_decides(ran, runs):
    metrics = ran.run.data.metrics
    assert len(metrics) <= 20
    best, bad = f"{NAME} v1", f"run {runs[0.0][:8]}"
    assert metrics[f"any_auc_difference/{best}"] == pytest.approx(
        metrics[f"any_auc/{best}"] - metrics[f"any_auc/{bad}"]
    )
    assert {f"macro_auc/{best}", f"exam_any_auc/{best}", f"any_sensitivity/{best}"} <= metrics.keys()


def test_the_page_opens_with_the_answer_and_needs_nothing_else(ran, runs):
    page = ran.text("compare.html")
    assert "not a medical device" in page
    body = page[page.index("<main>") :]
    assert f"{NAME} v1 is ahead in any bleed: AUC of slices " in body[:1500]
    assert "excludes zero" in body[:2000]
    assert "2 models are compared with run" in body
    assert f"epidural is left out: run {runs['four'][:8]} can&#39;t tell it" in body
    assert "the 3rd model compared on this test split" in body
    assert body.count("<img") == 2
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)


def test_what_is_printed_says_who_is_ahead_where_the_page_is_and_what_comes_next(ran, runs):
    assert f"{NAME} v1 is ahead in any bleed" in ran.printed
    assert "better: excludes 0" in ran.printed
    page = ran.printed.rstrip().splitlines()[-1].removeprefix("page: ")
    assert Path(page).read_text(encoding="utf-8") == ran.text("compare.html")
    # the best is champion already
    assert "next: mlflow ui --workers 1\n" in ran.printed
    assert check_printed_commands(ran.printed)
    (command,) = re.findall(r"mlflow run \. -e compare[^<]*", ran.text("compare.html").replace("&#39;", "'"))
    check_printed_commands(command)


def test_the_best_of_two_train_runs_is_to_be_promoted(runs, capsys, monkeypatch):
    alive = []
    whole = contenders_module.score

    def score(*args, **kwargs):
        gc.collect()
        alive.append(sum(isinstance(one, Classifier) for one in gc.get_objects()))
        return whole(*args, **kwargs)

    monkeypatch.setattr(contenders_module, "score", score)
    found = compare(options(runs[0.0], runs[0.3]))
    printed = capsys.readouterr().out
    assert f"next: mlflow run . -e promote -P run={runs[0.3]}" in printed
    assert found.baseline == f"run {runs[0.0][:8]}"
    # one model after another
    assert alive == [1, 1]
    # both were looked at before, so that they are no further looks
    assert look_of("another", found.stored.digest).number == 5


def test_where_labels_are_of_exams_alone_exams_decide(runs, capsys, monkeypatch):
    monkeypatch.setattr(scoring_module, "label_level", lambda stored: OF_STUDIES)
    found = compare(options(runs[0.3], runs[0.0], operating_point="youden"))
    assert list(found.tables) == ["exams"]
    metrics = mlflow.MlflowClient().get_run(found.run_id).data.metrics
    assert f"exam_any_auc_difference/run {runs[0.0][:8]}" in metrics
    assert all(name.startswith("exam_") for name in metrics)
    printed = capsys.readouterr().out
    assert f"run {runs[0.3][:8]} is ahead in any bleed: AUC of exams" in printed
    assert "decided by youden" in printed


def test_a_baseline_that_is_not_among_them_is_one_more(runs, champion):
    named = contenders_module.entries(options(runs[0.0], baseline=champion))
    assert [one.trained_run for one in named.models] == [runs[1.0], runs[0.0]]
    assert (named.baseline.trained_run, named.first.trained_run) == (runs[1.0], runs[0.0])
    named = contenders_module.entries(options(runs[0.0], champion, baseline=runs[1.0]))
    assert [one.trained_run for one in named.models] == [runs[0.0], runs[1.0]]
    assert named.baseline.trained_run == runs[1.0]


def test_mistakes_in_the_options():
    for models, said in (
        ("auto", None),
        (NAME, "expected 2 to 10 models, separated by commas, each a model"),
        (f"{NAME}/1", "models is 'ich-5class/1', expected 2 to 10 models"),
        (f"{NAME}/1,{NAME}/1", "each of them once"),
        (f"{NAME}/1,", "models is ''"),
        (",".join(f"{NAME}/{i}" for i in range(11)), "expected 2 to 10 models"),
    ):
        with pytest.raises(OptionError, match=said or "expected 2 to 10 models, separated"):
            CompareOptions(models=models).expect_ready()
    with pytest.raises(OptionError, match="baseline is 'nobody'"):
        CompareOptions(models="a/1,b/1", baseline="nobody")
    assert options("a/1", baseline="b/1").names == ("a/1",)


def _one_line(raised):
    assert "\n" not in str(raised.value)


def test_the_same_model_by_two_names_is_refused(runs, champion):
    with pytest.raises(ModelError, match="are the same model, of training run") as raised:
        compare(options(champion, runs[1.0]))
    _one_line(raised)
    with pytest.raises(ModelError, match="are the same model") as raised:
        compare(options(champion, baseline=f"{NAME}/1"))


def test_an_unknown_model_is_answered_with_the_nearest(runs, champion):
    for text, said in (
        ("ich-5clas@champion", r"did you mean ich-5class"),
        ("ich-5class@chmpion", r"did you mean ich-5class@champion"),
        ("0" * 32, "run 0{32} is not in sqlite.*take the id of a train run"),
    ):
        with pytest.raises(ModelError, match=said) as raised:
            compare(options(runs[0.0], text))
        _one_line(raised)


def test_a_run_that_is_about_a_train_run_names_it(runs):
    with mlflow.start_run(tags={"ich.stage": "evaluate", "ich.trained_run": runs[1.0]}) as run:
        pass
    with pytest.raises(
        ModelError, match=f"is a run of evaluate, expected a train run: pass .*{runs[1.0]}"
    ) as raised:
        compare(options(runs[0.0], run.info.run_id))
    _one_line(raised)


def test_any_of_them_that_has_learned_from_test_patients_is_refused_before_anything_is_scored(
    runs, arena, tmp_path, monkeypatch
):
    monkeypatch.setattr(contenders_module, "score", lambda *args, **kwargs: pytest.fail("scored"))
    other = make_set(tmp_path, seed=9)
    taught = train_contender(other, 0.5)
    copy = learned_from(arena, by="another run", rows=arena.rows("test"))
    whole = contenders_module.load_model

    def load_model(uri):
        model = whole(uri)
        if model.trained_run == taught:
            model.classifier.ancestry = Ancestry((copy,))
        return model

    monkeypatch.setattr(contenders_module, "load_model", load_model)
    with pytest.raises(
        ModelError, match=r"of the test split of .* were in the training or validation"
    ) as raised:
        compare(options(runs[0.0], taught))
    _one_line(raised)


def test_models_without_a_common_label_are_refused():
    models = [
        SimpleNamespace(name=name, specification=SimpleNamespace(findings=labels))
        for name, labels in (("a", ("subdural",)), ("b", ("epidural",)))
    ]
    with pytest.raises(ModelError, match=r"no label in common \(a subdural; b epidural\)"):
        module._labels(models)


def test_models_that_are_called_alike_are_numbered(ran):
    models = [replace(ran.found.contenders[0], name=name) for name in ("a", "b", "a", "a")]
    assert [one.name for one in module._distinct(models)] == ["a", "b", "a (2)", "a (3)"]


def test_a_set_that_is_none_or_is_gone_is_one_line(runs, tmp_path):
    with pytest.raises(DataError, match="is no stored set"):
        options(runs[0.0], runs[1.0], data=str(tmp_path)).expect_ready()
    with pytest.raises(IchError) as raised:
        compare(options(runs[0.0], runs[1.0], data=str(tmp_path)))
    _one_line(raised)


def test_the_command_ends_with_one_line_and_exit_code_1(monkeypatch, capsys):
    assert run_stage(monkeypatch, "compare", models="ich-5class@champion") == 1
    error = capsys.readouterr().err
    assert error.startswith("error: models is 'ich-5class@champion', expected 2 to 10 models")
    assert error.count("\n") == 1

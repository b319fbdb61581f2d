import base64
import json
import re
import shlex
from html import unescape

import mlflow
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from ich_mlflow.dataset.build import BuildOptions, build_stored_set
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.errors import DataError, ModelError, OptionError
from ich_mlflow.labels import SUBTYPES
from ich_mlflow.phantom.cohort import CohortOptions, write_cohort
from ich_mlflow.report.claim import CLAIM_ITEMS
from ich_mlflow.serving.packaging import load_classifier
from ich_mlflow.stages.common.scoring import score_rows
from ich_mlflow.stages.evaluate import evaluate as evaluate_module
from ich_mlflow.stages.evaluate.evaluate import evaluate, summary_lines
from ich_mlflow.stages.evaluate.options import EvaluateOptions
from ich_mlflow.stages.promote.options import PromoteOptions
from ich_mlflow.stages.promote.promote import promote_candidate
from ich_mlflow.stages.train.options import TrainOptions
from ich_mlflow.stages.train.train import train
from tests.conftest import LABELS
from tests.factories import ArraySource, write_ctich, write_dicom
from tests.printed import check_printed_commands
from tests.sources.cq500_tree import SUBDURAL, read_row, write_reads, write_series


def _run(run_id):
    return mlflow.MlflowClient().get_run(run_id)


def _artifact(run_id, path):
    return mlflow.artifacts.load_text(f"runs:/{run_id}/{path}")


@pytest.fixture(scope="module")
def evaluated(trained):
    return evaluate(EvaluateOptions(model=trained.serving_uri, resamples=100))


def test_the_run_holds_report_card_checklist_tables_predictions_and_figures(evaluated):
    client = mlflow.MlflowClient()
    paths = {
        item.path
        for folder in ("", "figures", "tables")
        for item in client.list_artifacts(evaluated.run_id, folder)
    }
    figures = {
        f"figures/test_{unit}_{name}.png"
        for unit in ("slices", "exams")
        for name in (
            "roc",
            "precision_recall",
            "reliability",
            "histograms",
            "confusion",
            "cooccurrence",
            "auc",
        )
    }
    tables = {
        "tables/test_slices.json",
        "tables/test_exams.json",
        "tables/test_slices_operating_points.json",
        "tables/test_exams_operating_points.json",
        "tables/test_metrics.json",
    }
    assert {
        "report.html", "model_card.md", "claim_checklist.md", "predictions.csv", "figures/test_heat_maps.png",
        *figures, *tables,
    } <= paths  # fmt: skip


def test_rankings_are_of_what_the_network_says_and_probabilities_are_calibrated(
    evaluated, trained, stored_set
):
    metrics = _run(evaluated.run_id).data.metrics
    rows = stored_set.rows("test")
    classifier = load_classifier(trained.serving_uri)
    specification = classifier.specification
    outputs = score_rows(classifier, stored_set, rows).slices
    scores = np.column_stack([outputs, outputs.max(axis=1)])
    probabilities = specification.slices.calibrated(scores)
    truth = np.column_stack([stored_set.subtypes[rows], stored_set.subtypes[rows].any(axis=1)])
    for i, label in enumerate((*SUBTYPES, "any")):
        assert metrics[f"test/auc/{label}"] == pytest.approx(
            roc_auc_score(truth[:, i], scores[:, i]), abs=1e-12
        )
        assert evaluated.slices.values[f"brier/{label}"] == pytest.approx(
            np.mean((probabilities[:, i] - truth[:, i]) ** 2)
        )
    table = stored_set.table.iloc[rows].assign(p=scores[:, 5], t=truth[:, 5])
    exams = table.groupby("study_uid").agg({"p": "max", "t": "max"})
    if specification.aggregation == "max":
        assert metrics["test/exam/auc/any"] == pytest.approx(roc_auc_score(exams["t"], exams["p"]))
    assert metrics["test/exam/num_exams"] == len(exams)
    assert metrics["test/num_slices"] == len(rows)
    # every patient of this set has its label on all slices, so height says nothing that the mean doesn't
    position = stored_set.table["position_fraction"].to_numpy()[rows]
    said = specification.null_models["position"].probabilities(position)
    table = evaluated.slices.table().set_index(["metric", "label"])
    assert table.loc[("auc", "epidural"), "floor_position"] == roc_auc_score(truth[:, 0], said[:, 0])


def test_the_model_has_the_figures_that_decide_by_the_data_set(evaluated, trained):
    metrics = _run(evaluated.run_id).data.metrics
    assert metrics["any_auc"] == round(metrics["test/auc/any"], 4)
    assert len(metrics) <= 80
    model = mlflow.MlflowClient().get_logged_model(trained.serving_uri.removeprefix("models:/"))
    of_test = [metric for metric in model.metrics if metric.dataset_name == "array-test"]
    assert {"any_auc", "auc_macro", "any_exam_auc"} <= {metric.key for metric in of_test}
    note = _run(evaluated.run_id).data.tags["mlflow.note.content"]
    assert note.startswith(f"**Model**: `{evaluated.model_uri}`")
    assert f"mlflow run . -e promote -P run={trained.run_id}" in note


def test_any_is_measured_beside_the_subtypes_and_in_no_mean_of_them(evaluated):
    for one in (evaluated.slices, evaluated.exams):
        each = [one.values[f"auc/{label}"] for label in SUBTYPES if f"auc/{label}" in one.values]
        assert "auc/any" in one.values
        assert one.values["auc/macro"] == pytest.approx(np.mean(each))
    card = _artifact(evaluated.run_id, "model_card.md")
    assert "\n| any | " in card
    assert " (few) | " in card
    report = _artifact(evaluated.run_id, "report.html")
    assert "AUC of slices, any bleed" in report
    assert "Sensitivity of exams, any bleed" in report or "sensitivity of exams, any bleed" in report


def test_the_summary_says_of_any_bleed_how_well_it_is_ranked_and_decided(evaluated):
    slices, exams = (summary_lines(one) for one in (evaluated.slices, evaluated.exams))
    assert slices[0].startswith("any bleed: AUC ")
    assert "prevalence alone 0.50" in slices[0]
    assert "position alone " in slices[0]
    assert slices[1].startswith("any bleed: sensitivity ")
    assert ", specificity " in slices[1]
    assert "prevalence alone " in exams[0]
    assert [line.split()[1] for line in slices[2:]] == [*SUBTYPES, "macro"]


def test_a_label_of_one_patient_has_a_figure_and_no_interval(evaluated):
    found = evaluated.slices
    positive = [one.label for one in found.metrics.of_subtypes if one.num_positive_patients < 3]
    assert positive
    for label in positive:
        assert f"auc/{label}" in found.values
        assert not found.has_interval(f"auc/{label}")
    # nor has a mean that it is part of; the accuracies have theirs
    assert "auc_macro_low" not in _run(evaluated.run_id).data.metrics
    table = evaluated.slices.table().set_index(["metric", "label"])
    assert table.loc[("accuracy", "mean"), "low"] <= table.loc[("accuracy", "mean"), "high"]


def test_predictions_are_a_row_a_slice(evaluated, stored_set):
    path = mlflow.artifacts.download_artifacts(run_id=evaluated.run_id, artifact_path="predictions.csv")
    table = pd.read_csv(path)
    rows = stored_set.rows("test")
    assert table["sop_uid"].tolist() == stored_set.table["sop_uid"].iloc[rows].tolist()
    np.testing.assert_allclose(table["probability_subdural"], evaluated.scored.probabilities[:, 4])
    np.testing.assert_array_equal(table["true_subdural"], stored_set.subtypes[rows][:, 4])


def test_the_report_is_one_file_that_needs_nothing_else(evaluated):
    html = _artifact(evaluated.run_id, "report.html")
    assert not re.search(r'(src|href)="(?!data:|#)', html)
    assert "<script" not in html
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    assert len(pictures) >= 14
    assert all(base64.b64decode(png).startswith(b"\x89PNG") for png in pictures)
    for said in (
        "not a medical device",
        "Fewer than 10 positive patients",
        "mlflow run . -e evaluate",
        *SUBTYPES,
    ):
        assert said in html
    assert len(check_printed_commands(unescape(html))) == 1


def test_the_checklist_answers_or_hands_on_every_item_of_claim(evaluated):
    assert [item.number for item in CLAIM_ITEMS] == list(range(1, 43))
    text = _artifact(evaluated.run_id, "claim_checklist.md")
    assert sum(line.startswith("| ") and line[2].isdigit() for line in text.splitlines()) == 42
    assert "**for the authors**" in text


@pytest.fixture
def registry(workspace):
    """The registry; a model that the test registers is gone after it, so that other tests meet what they expect."""
    client = mlflow.MlflowClient()
    before = {model.name for model in client.search_registered_models()}
    yield client
    for model in client.search_registered_models():
        if model.name not in before:
            client.delete_registered_model(model.name)


@pytest.fixture
def no_figures(monkeypatch):
    """For evaluations of which no figure is looked at: drawing them is most of their time."""
    monkeypatch.setattr(evaluate_module, "log_figures", lambda *told, **more: None)


def test_the_card_becomes_the_description_of_the_registered_version(trained, evaluated, registry, no_figures):
    card = _artifact(evaluated.run_id, "model_card.md")
    promote_candidate(PromoteOptions(run=trained.run_id, smoke=False), evaluated=evaluated)
    # it has learned next to nothing, so it stays a candidate
    version = mlflow.MlflowClient().get_model_version_by_alias("ich-5class", "candidate")
    assert version.tags["ich.run_id"] == trained.run_id
    assert version.description == card
    assert len(card) <= 5000
    # evaluated again, a registered version gets the newer card
    again = evaluate(EvaluateOptions(model="ich-5class@candidate", resamples=200, heat_maps=0))
    version = mlflow.MlflowClient().get_model_version("ich-5class", version.version)
    assert version.description == _artifact(again.run_id, "model_card.md") != card
    tags = _run(again.run_id).data.tags
    assert tags["ich.trained_run"] == trained.run_id
    assert tags["ich.model_uri"] == f"models:/ich-5class/{version.version}"


def test_which_look_at_the_test_split_it_is_is_said_in_the_terminal_and_the_report(
    trained, evaluated, stored_set, no_figures, capsys
):
    capsys.readouterr()
    again = evaluate(EvaluateOptions(model=trained.serving_uri, resamples=100, heat_maps=0))
    # others may have been looked at by tests before, but this one is not counted again
    assert (again.look.number, again.look.digest) == (evaluated.look.number, stored_set.digest)
    printed = capsys.readouterr().out
    assert f"is {again.look.said} ({stored_set.digest[:12]})" in printed
    # and what decides first stands there too
    for assessment in (again.slices, again.exams):
        for line in summary_lines(assessment):
            assert f"  {line}\n" in printed
    assert f"This is {again.look.said}." in _artifact(again.run_id, "report.html")
    assert _run(again.run_id).data.tags["ich.test_digest"] == stored_set.digest


def test_another_operating_point_decides_otherwise_and_ranks_alike(trained, evaluated, no_figures):
    other = evaluate(
        EvaluateOptions(
            model=trained.serving_uri, operating_point="sensitivity_95", resamples=100, heat_maps=0
        )
    )
    chosen = load_classifier(trained.serving_uri).specification.slices
    np.testing.assert_array_equal(other.slices.predictions.thresholds, chosen.thresholds("sensitivity_95"))
    assert other.slices.metrics.macro("auc") == evaluated.slices.metrics.macro("auc")


def test_a_model_does_not_differ_from_itself(trained):
    found = evaluate(
        EvaluateOptions(model=trained.serving_uri, baseline=trained.serving_uri, resamples=100, heat_maps=0)
    )
    for unit in ("slices", "exams"):
        assert (found.differences[unit]["difference"] == 0).all()
    assert _run(found.run_id).data.metrics["test/auc_difference/macro"] == 0
    assert "Model minus baseline" in _artifact(found.run_id, "report.html")


def test_detection_and_subtype_stand_apart_where_any_has_an_output(two_stage, evaluated, no_figures):
    found = evaluate(EvaluateOptions(model=two_stage.serving_uri, resamples=100, heat_maps=0))
    table = found.two_parts.set_index("label")
    slices = found.slices.table().set_index(["metric", "label"])
    assert table.loc["any", "auc"] == slices.loc[("auc", "any"), "value"]
    assert table.index.tolist() == ["any", *SUBTYPES, "macro"]
    logged = pd.DataFrame(**json.loads(_artifact(found.run_id, "tables/test_detection_and_subtype.json")))
    assert logged["label"].tolist() == table.index.tolist()
    html, card = (_artifact(found.run_id, name) for name in ("report.html", "model_card.md"))
    assert "<h2>Detection and subtype</h2>" in html
    assert "one sigmoid of any bleed (detection)" in html
    assert "\n| subtype given a bleed | epidural | " in card
    # a network without an output of its own for any has no such parts
    assert evaluated.two_parts is None
    assert "Detection and subtype" not in _artifact(evaluated.run_id, "report.html")


@pytest.fixture(scope="module")
def four_classes(workspace, stored_set):
    with pytest.MonkeyPatch.context() as patch:
        from ich_mlflow.models.slice_cnn.backbones import BACKBONES
        from tests.factories import TINY

        patch.setitem(BACKBONES, "efficientnet-b0", TINY)
        return train(
            TrainOptions(
                data=str(stored_set.path), num_classes="4", image_size="32", epochs="1", weights="random"
            )
        )


def test_a_baseline_of_another_class_scheme_is_compared_on_shared_labels(trained, four_classes, no_figures):
    found = evaluate(
        EvaluateOptions(
            model=trained.serving_uri, baseline=four_classes.serving_uri, resamples=100, heat_maps=0
        )
    )
    labels = set(found.differences["slices"]["label"])
    assert "epidural" not in labels
    assert {"subdural", "macro"} <= labels


def test_patients_that_were_trained_on_are_refused(trained, tmp_path):
    source = ArraySource(tmp_path, LABELS, slices_per_patient=4)
    other = build_stored_set(source, tmp_path / "set", BuildOptions(seed=7, workers=1), progress=False)
    with pytest.raises(ModelError, match="were in the training or validation split") as refusal:
        evaluate(EvaluateOptions(model=trained.serving_uri, data=str(other.path)))
    assert "\n" not in str(refusal.value)


def test_external_data_of_a_source_is_all_test_and_says_so(trained, evaluated, registry, tmp_path):
    promote_candidate(PromoteOptions(run=trained.run_id, smoke=False), evaluated=evaluated)
    root = write_ctich(tmp_path / "ctich", ["49,1,0,0,0,0,0,1,0", "49,2,0,0,0,0,1,0,0"])
    found = evaluate(
        EvaluateOptions(
            model=trained.serving_uri,
            source="ctich",
            data=str(root),
            out=str(tmp_path / "set"),
            resamples=100,
        )
    )
    assert len(found.scored.rows) == 2
    assert found.unseen_checked
    html = _artifact(found.run_id, "report.html")
    assert "This is external data" in html
    assert "on the test split of ctich, 2 slices of 1 patients" in html
    assert "nothing says that they are right." in html
    # the only exam shows a subdural bleed, one of its two slices does not
    others = "epidural, intraparenchymal, intraventricular, subarachnoid"
    assert f"for lack of positive or negative slices: {others}." in html
    assert f"for lack of positive or negative exams: {others}, subdural, any." in html
    # the card of a version is of its own test split
    version = mlflow.MlflowClient().search_model_versions(f"tags.`ich.run_id` = '{trained.run_id}'")
    assert version
    assert all("ctich" not in (one.description or "") for one in version)


def test_labels_of_studies_are_scored_as_exams_only(trained, tmp_path):
    root = tmp_path / "cq500"
    write_reads(root, [read_row(1, (), SUBDURAL, SUBDURAL), read_row(2, (), (), ())])
    for exam in (1, 2):
        write_series(root, exam, "CT Plain")
    found = evaluate(
        EvaluateOptions(
            model=trained.serving_uri,
            source="cq500",
            data=str(root),
            out=str(tmp_path / "set"),
            resamples=100,
        )
    )
    assert found.slices is None
    assert found.exams.metrics.num_slices == 2
    metrics = _run(found.run_id).data.metrics
    assert "auc/subdural" in found.exams.values
    assert "any_exam_auc" in metrics
    assert not [name for name in metrics if name.startswith("test/auc")]
    html = _artifact(found.run_id, "report.html")
    assert "Labels are of each study" in html
    # what is shown of slices alone is not claimed of such a report
    checklist = _artifact(found.run_id, "claim_checklist.md")
    for section in ("Subgroups", "Failures", "Where the network looked"):
        assert f"<h2>{section}</h2>" not in html
        assert f"report.html, {section}" not in checklist
        assert f"**for the authors**: this report has no section {section} |" in checklist


def test_exams_with_bleeds_of_no_label_are_counted_as_exams(four_classes, tmp_path):
    root = tmp_path / "cq 500"
    epidural = ("ICH", "EDH")
    write_reads(root, [read_row(1, (), epidural, epidural), read_row(2, (), (), ())])
    for exam in (1, 2):
        write_series(root, exam, "CT Plain")
    told = {"model": four_classes.serving_uri, "resamples": 100, "heat_maps": 0, "source": "cq500"}
    found = evaluate(EvaluateOptions(**told, data=str(root), out=str(root / "set"), workers=1))
    html = _artifact(found.run_id, "report.html")
    assert "1 exams show only bleeds that this model has no label for" in html
    # and the command that makes the same again is one for a shell, though the path has a space
    command = re.search(r"<pre>(.*)</pre>", html).group(1)
    assert f"data={root / 'set'}" in shlex.split(unescape(command))


def test_on_phantoms_the_heat_maps_are_scored_against_the_lesions(trained, tmp_path, monkeypatch):
    cohort = write_cohort(
        tmp_path / "cohort",
        CohortOptions(exams=3, seed=3, exam_rate=0.7, rows=128),
        workers=1,
        progress=False,
    )
    found = evaluate(
        EvaluateOptions(
            model=trained.serving_uri,
            source="phantom",
            data=str(cohort),
            out=str(tmp_path / "set"),
            resamples=100,
        )
    )
    table = found.pointing.table
    stored = StoredSet.open(tmp_path / "set")
    positive = dict(zip(SUBTYPES, stored.subtypes.sum(axis=0), strict=True))
    assert dict(zip(table["label"], table["slices"], strict=True)) == {k: v for k, v in positive.items() if v}
    assert table["rate"].between(0, 1).all()
    # the network's 8 x 8 places are 32 of the 256 pixels wide: a point within half of one is a hit
    assert found.pointing.tolerance == 16
    assert table["chance"].between(0, 0.5).all()
    assert "area of the bleed, third" in set(found.subgroups["grouping"])
    assert "Pointing game" in _artifact(found.run_id, "report.html")
    # the surest are shown beside the choice that the game is played on, and don't count
    monkeypatch.setattr("ich_mlflow.stages.evaluate.heat_maps.MAX_POINTED", 1)
    monkeypatch.setattr(evaluate_module, "log_figures", lambda *told, **more: None)
    told = {"model": trained.serving_uri, "data": str(tmp_path / "set"), "resamples": 100}
    found = evaluate(EvaluateOptions(**told, heat_maps=16))
    assert (found.pointing.table["slices"] == 1).all()


def test_a_submission_has_the_rows_of_the_sample_in_their_order(trained, tmp_path):
    uids = [f"ID_{number:09x}" for number in (7, 3, 5)]
    (tmp_path / "stage_2_test").mkdir()
    for number, uid in enumerate(uids[:2]):
        write_dicom(
            tmp_path / "stage_2_test" / f"{uid}.dcm", np.arange(64).reshape(8, 8) + 1000 + 30 * number
        )
    (tmp_path / "stage_2_test" / f"{uids[2]}.dcm").write_bytes(b"no DICOM")
    names = [f"{uid}_{label}" for uid in uids for label in (*SUBTYPES, "any")]
    sample = tmp_path / "stage_2_sample_submission.csv"
    sample.write_text("ID,Label\n" + "".join(f"{name},0.5\n" for name in names))
    told = {
        "model": trained.serving_uri, "source": "rsna", "data": str(tmp_path), "out": str(tmp_path / "set"),
        "submission": True,
    }  # fmt: skip
    assert evaluate(EvaluateOptions(**told)) is None
    run = mlflow.search_runs(
        ["1"], filter_string="tags.`ich.stage` = 'evaluate'", max_results=1, output_format="list"
    )[0]
    lines = _artifact(run.info.run_id, "submission.csv").splitlines()
    assert lines[0] == "ID,Label"
    assert [line.split(",")[0] for line in lines[1:]] == names
    values = np.array([float(line.split(",")[1]) for line in lines[1:]]).reshape(3, 6)
    classifier = load_classifier(trained.serving_uri)
    stored = StoredSet.open(tmp_path / "set")
    outputs = score_rows(classifier, stored, np.arange(2)).slices
    scored = classifier.specification.slices.calibrated(classifier.specification.scores(outputs))
    expected = dict(zip(stored.table["sop_uid"], scored, strict=True))
    np.testing.assert_allclose(values[0], expected[uids[0]], atol=1e-7)
    np.testing.assert_allclose(values[1], expected[uids[1]], atol=1e-7)
    prevalence = classifier.specification.null_models["prevalence"].shares
    np.testing.assert_allclose(values[2], prevalence[0], atol=1e-7)
    assert run.data.metrics["submission/slices_unread"] == 1


def test_a_submission_needs_all_five_subtypes(four_classes, tmp_path):
    with pytest.raises(ModelError, match="needs all five subtypes"):
        evaluate(
            EvaluateOptions(
                model=four_classes.serving_uri, source="rsna", data=str(tmp_path), submission=True
            )
        )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"source": "ctich"}, "data is 'auto', expected the folder"),
        ({"source": "liver"}, "source is 'liver'"),
        ({"out": "results"}, "out is 'results', expected auto without source="),
        ({"source": "rsna-test", "data": "x"}, "rsna with submission=true"),
        ({"operating_point": "best"}, "operating_point is 'best'"),
        ({"resamples": 5}, "resamples is 5, expected 100"),
        ({"heat_maps": 17}, "heat_maps is 17"),
        ({"submission": True}, "without source=rsna"),
        ({"submission": True, "source": "rsna", "data": "x", "baseline": "y"}, "baseline is 'y'"),
    ],
)
def test_options_that_make_no_sense_are_one_line(options, said):
    with pytest.raises(OptionError, match=said) as refusal:
        EvaluateOptions(**options)
    assert "\n" not in str(refusal.value)


def test_a_folder_that_is_no_set_is_one_line(trained, tmp_path):
    with pytest.raises(DataError, match=r"holds no manifest\.json") as refusal:
        evaluate(EvaluateOptions(model=trained.serving_uri, data=str(tmp_path)))
    assert "\n" not in str(refusal.value)

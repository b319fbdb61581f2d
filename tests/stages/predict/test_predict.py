"""The smallest real predictions: phantom studies with other series among them, by the demonstration model."""

import base64
import errno
import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pydicom
import pytest
from pydicom.encaps import encapsulate

from ich_mlflow.dataset.build import BuildOptions, build_stored_set
from ich_mlflow.dicom.write import Encoding, Identity, write_slice
from ich_mlflow.errors import DataError, ModelError, OptionError
from ich_mlflow.intake.files import files_of
from ich_mlflow.monitoring.log import log_files
from ich_mlflow.monitoring.reader import read_logs
from ich_mlflow.phantom.exports import write_exports
from ich_mlflow.phantom.studies import StudySetOptions, write_study_set
from ich_mlflow.serving.packaging import load_classifier
from ich_mlflow.sources.registry import open_source
from ich_mlflow.stages.common.scoring import score_rows
from ich_mlflow.stages.demonstrate.demonstrate import demonstrate
from ich_mlflow.stages.demonstrate.options import DemonstrateOptions
from ich_mlflow.stages.predict import predict as module
from ich_mlflow.stages.predict.options import PredictOptions
from ich_mlflow.stages.predict.predict import predict
from ich_mlflow.system.spark import spark_session
from tests.real_data import CT_ICH, needs_ct_ich

ROOT = Path(__file__).parents[3]
KEYS = ["level", "study_uid", "sop_uid"]


@pytest.fixture(scope="module")
def model(workspace):
    return demonstrate(DemonstrateOptions(learned_from="phantom")).removeprefix("models:/")


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """Folder and truth: three studies with heads, one without, and 12 files of junk."""
    folder = tmp_path_factory.mktemp("in") / "studies"
    return folder, write_study_set(folder, StudySetOptions(studies=4, rows=128, exam_rate=0.5, junk=12))


@pytest.fixture(scope="module")
def predicted(workspace, model, studies, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "prediction"
    return predict(PredictOptions(input=str(studies[0]), model=model, out=str(out)))


def table(folder, name="predictions.csv"):
    frame = pd.read_csv(folder / name)
    return frame.set_index(KEYS).sort_index() if name == "predictions.csv" else frame


def probabilities(frame):
    return frame[[column for column in frame if column.startswith("probability_")]]


def test_a_monitor_gets_a_record_of_each_scored_study_and_no_identity(
    model, studies, predicted, tmp_path, capsys
):
    logs = tmp_path / "logs"
    said = {"input": str(studies[0]), "model": model, "dicom": False, "pictures": 0}
    again = PredictOptions(out=str(tmp_path / "out"), monitor=str(logs), **said)
    predict(again)
    records = read_logs(logs).records
    worklist = table(predicted, "worklist.csv")
    assert len(records) == len(table(predicted, "series.csv").query("chosen"))
    assert {one.model for one in records} == {model}
    assert sorted(one.status for one in records) == sorted(worklist["status"].head(len(records)))
    assert all(15 < one.soft_tissue_hu < 60 and one.step_mm > 0 and one.spacing_mm > 0 for one in records)
    assert all(one.manufacturer and one.kernel and one.syntax.startswith("1.2.840.10008") for one in records)
    text = b"".join(path.read_bytes() for path in log_files(logs)).decode()
    known = [*worklist["study_uid"], *worklist["patient_id"], str(studies[0])]
    assert not any(str(one).strip("'") in text for one in known)
    predict(again)  # made before: nothing is noted again
    assert len(read_logs(logs).records) == len(records)
    (tmp_path / "file").touch()
    capsys.readouterr()
    broken = PredictOptions(out=str(tmp_path / "out2"), monitor=str(tmp_path / "file" / "x"), **said)
    assert (predict(broken) / "worklist.csv").is_file()
    assert "note: nothing was noted for the monitor (Not a directory)" in capsys.readouterr().out


def test_of_each_study_exactly_the_right_series_is_scored(studies, predicted):
    series = table(predicted, "series.csv")
    right = {one.series_uid for one in studies[1] if one.is_right}
    assert set(series.loc[series["chosen"], "series_uid"]) == right
    images = {one.series_uid: one.num_slices for one in studies[1] if one.kind not in ("mr", "dose_sheet")}
    assert dict(zip(series["series_uid"], series["num_slices"], strict=True)) == images
    assert series["why"].notna().all()


def test_what_is_no_ct_image_is_listed_with_its_reason(studies, predicted):
    counts = table(predicted, "skipped.csv")["reason"].value_counts().to_dict()
    assert counts == {
        "not_dicom": 4, "not_ct": 6, "duplicate": 4, "empty": 2, "dicomdir": 2, "no_image": 1,
    }  # fmt: skip
    summary = json.loads((predicted / "summary.json").read_text())
    assert summary["left_out"] == counts
    assert summary["counts"]["files"] == sum(1 for path in studies[0].rglob("*") if path.is_file())


def test_the_probabilities_are_the_models_own(studies, predicted, model):
    frame = pd.read_csv(predicted / "predictions.csv")
    slices = frame[frame["level"] == "slice"]
    assert len(slices) == sum(one.num_slices for one in studies[1] if one.is_right)
    row = slices.iloc[17]
    served = mlflow.pyfunc.load_model(f"models:/{model}")
    dicom = base64.b64encode((studies[0] / row["file"]).read_bytes()).decode()
    answer = served.predict(pd.DataFrame({"dicom": [dicom]})).iloc[0]
    assert answer["probability_subdural"] == pytest.approx(row["probability_subdural"], abs=1e-12)
    assert answer["decision_any"] == row["decision_any"]
    # the exam, by the server, of all its slices
    exam = frame[(frame["level"] == "exam") & (frame["study_uid"] == row["study_uid"])].iloc[0]
    files = slices.loc[slices["study_uid"] == row["study_uid"], "file"]
    rows = [base64.b64encode((studies[0] / name).read_bytes()).decode() for name in files]
    (answer,) = served.predict(pd.DataFrame({"dicom": rows}), params={"aggregate": "exam"}).to_dict("records")
    assert answer["probability_any"] == pytest.approx(exam["probability_any"], abs=1e-12)


def test_the_worklist_has_every_study_and_the_one_without_a_head_is_to_be_looked_at(studies, predicted):
    worklist = table(predicted, "worklist.csv")
    assert worklist["rank"].tolist() == [1, 2, 3, 4]
    assert set(worklist["study_uid"]) == {one.study_uid for one in studies[1]}
    chest = worklist.iloc[3]
    assert (chest["status"], chest["slices"]) == ("review", 0)
    assert chest["remarks"] == "no non-contrast head CT in it: another part of the body, by BodyPartExamined"
    flagged = worklist[worklist["status"] == "flagged"]
    assert len(flagged)  # a bleed in every second exam of each subtype
    assert flagged["probability_any"].is_monotonic_decreasing


def test_the_page_shows_the_flagged_and_needs_nothing_else(predicted):
    page = (predicted / "worklist.html").read_text()
    assert "Research software, not a medical device." in page
    assert (
        page.count("data:image/jpeg;base64,")
        == 4 * (table(predicted, "worklist.csv")["status"] == "flagged").sum()
    )
    assert "http" not in page
    assert "<script" not in page


def test_reports_and_captures_keep_the_patient_and_study(predicted):
    first = table(predicted, "worklist.csv").iloc[0]
    folder = predicted / first["dicom"]
    report = pydicom.dcmread(folder / "findings.dcm")
    captures = [pydicom.dcmread(path) for path in sorted(folder.glob("heat-map-*.dcm"))]
    assert len(captures) == 4
    for one in (report, *captures):
        assert (one.PatientID, one.StudyInstanceUID) == (first["patient_id"], first["study_uid"])
        assert str(one.PatientName).startswith("Phantom^")
    evidence = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    assert len(evidence.ReferencedSOPSequence) == first["slices"]
    assert captures[0].SourceImageSequence[0].ReferencedSOPInstanceUID == first["most_probable_slice"]


def test_the_same_study_elsewhere_has_the_same_report_and_another_choice_another(
    model, studies, predicted, tmp_path
):
    """Copied under other names and times: in a PACS it is there once."""
    first = table(predicted, "worklist.csv").iloc[0]
    folder = studies[0] / f"{first['patient_id']}"
    for number, path in enumerate(sorted(path for path in folder.rglob("SE*/*"))):
        copy = tmp_path / "in" / f"other-{number:05d}"
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(path.read_bytes())
        os.utime(copy, (1, 1))
    uids = []
    for number, pictures in enumerate((4, 4, 2)):
        told = PredictOptions(
            input=str(tmp_path / "in"), model=model, out=str(tmp_path / f"out-{number}"), pictures=pictures
        )
        (report,) = predict(told).rglob("findings.dcm")
        uids.append(pydicom.dcmread(report).SOPInstanceUID)
    (there,) = (predicted / first["dicom"]).glob("findings.dcm")
    assert uids[0] == uids[1] == pydicom.dcmread(there).SOPInstanceUID
    assert uids[2] != uids[0]


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="needs dciodvfy: apt install dicom3tools")
def test_the_validator_finds_no_error(predicted):
    for path in sorted(predicted.rglob("*.dcm"))[:6]:
        said = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False).stderr
        assert [line for line in said.splitlines() if line.startswith("Error")] == []


def test_the_run_and_the_log_know_no_patient(model, studies, tmp_path, capsys):
    predict(
        PredictOptions(input=str(studies[0]), model=model, out=str(tmp_path / "o"), dicom=False, pictures=0)
    )
    run = mlflow.last_active_run()
    said = json.dumps([run.data.params, run.data.tags, run.data.metrics]) + "".join(capsys.readouterr())
    assert "hantom^" not in said
    assert "PHANTOM-" not in said
    assert not any(one.study_uid in said for one in studies[1])
    assert run.data.metrics["predict/studies"] == 4
    assert run.data.metrics["predict/left_out/duplicate"] == 4
    assert mlflow.artifacts.list_artifacts(run_id=run.info.run_id) == []
    assert not (tmp_path / "o" / "dicom").exists()


def test_a_zip_gives_the_same_and_leaves_nothing_unpacked(model, studies, predicted, tmp_path):
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as packed:
        for path in sorted(studies[0].rglob("*")):
            packed.write(path, path.relative_to(studies[0]))
    options = PredictOptions(
        input=str(tmp_path / "export.zip"), model=model, out=str(tmp_path / "o"), pictures=0
    )
    out = predict(options)
    pd.testing.assert_frame_equal(table(out), table(predicted))
    assert sorted(path.name for path in out.iterdir()) == [
        "dicom", "predictions.csv", "series.csv", "skipped.csv", "summary.json", "worklist.csv", "worklist.html",
    ]  # fmt: skip


def test_the_same_again_is_found_and_a_changed_input_is_not_taken_for_it(model, studies, tmp_path, capsys):
    folder = tmp_path / "in"
    shutil.copytree(studies[0] / "PHANTOM-0002", folder)
    options = PredictOptions(input=str(folder), model=model, out=str(tmp_path / "o"), pictures=0, dicom=False)
    first = table(predict(options))
    capsys.readouterr()
    predict(options)
    assert "was made before" in capsys.readouterr().out
    next(folder.rglob("SE0004/*")).unlink()
    with pytest.raises(DataError, match="prediction of other files, options or another model"):
        predict(options)
    changed = PredictOptions(input=str(folder), model=model, out=str(tmp_path / "p"), pictures=0, dicom=False)
    assert len(table(predict(changed))) == len(first) - 1


@pytest.fixture
def one_study(studies, tmp_path):
    """A folder with one study, what predict takes of it, and the file of a slice that is scored."""
    folder = tmp_path / "in"
    shutil.copytree(studies[0] / "PHANTOM-0002", folder)
    return folder, next(folder.rglob("SE0004/*"))


def test_what_could_not_be_read_for_now_is_tried_again_by_the_same_command(
    model, one_study, tmp_path, monkeypatch, capsys
):
    folder, gone = one_study
    options = PredictOptions(input=str(folder), model=model, out=str(tmp_path / "o"), pictures=0, workers=1)
    away = tmp_path / "away"

    def survey(files, **told):
        found = module.survey_of_all(files, **told)
        if gone.exists():
            gone.rename(away)
        return found

    monkeypatch.setattr(module, "survey_of_all", module.survey, raising=False)
    monkeypatch.setattr(module, "survey", survey)
    out = predict(options)
    assert "something could not be read or scored for now" in capsys.readouterr().out
    assert "slices can't be read" in table(out, "worklist.csv")["remarks"].item()
    assert (out / ".work").is_dir()
    monkeypatch.undo()
    away.rename(gone)
    predict(options)
    said = capsys.readouterr().out
    assert "1 part of it could not be done before: tried again" in said
    assert table(out)["error"].isna().all()
    assert not (out / ".work").exists()
    predict(options)
    assert "was made before" in capsys.readouterr().out
    (out / "worklist.csv").unlink()
    predict(options)
    assert (out / "worklist.csv").exists()


def test_another_patients_image_in_the_files_place_is_not_scored_under_the_first_ones_name(
    model, one_study, tmp_path, monkeypatch
):
    folder, changed = one_study
    options = PredictOptions(input=str(folder), model=model, out=str(tmp_path / "o"), pictures=2, workers=1)

    def survey(files, **told):
        found = module.survey_of_all(files, **told)
        other = pydicom.dcmread(changed)
        other.PatientID = "SOMEBODY-ELSE"
        other.save_as(changed)
        return found

    monkeypatch.setattr(module, "survey_of_all", module.survey, raising=False)
    monkeypatch.setattr(module, "survey", survey)
    out = predict(options)
    errors = table(out)["error"].dropna()
    assert errors.tolist() == ["the file holds another image than when it was chosen: run predict again"]
    assert table(out, "worklist.csv")["status"].item() in ("flagged", "review")


def test_a_full_disk_is_an_error_of_the_run_and_no_odd_header(model, one_study, tmp_path, monkeypatch):
    def full(*told, **more):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("ich_mlflow.prediction.outputs.write_findings", full)
    options = PredictOptions(
        input=str(one_study[0]), model=model, out=str(tmp_path / "o"), pictures=0, workers=1
    )
    with pytest.raises(
        DataError, match=r"can't be read or written \(No space left on device\).*goes on from here"
    ):
        predict(options)
    monkeypatch.undo()
    assert sum(path.name == "findings.dcm" for path in predict(options).rglob("*")) == 1


def test_killed_in_the_middle_it_goes_on_where_it_was(model, studies, predicted, tmp_path):
    out = tmp_path / "o"
    command = [
        sys.executable, "-m", "entrypoints.predict", "--input", str(studies[0]), "--model", model, "--out", str(out),
        "--workers", "1",
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": mlflow.get_tracking_uri()}

    def start():
        return subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    process = start()
    end = time.monotonic() + 120
    while len(notes := list((out / ".work" / "notes").glob("*.json"))) < 2:
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < end
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "summary.json").exists()
    notes[0].write_bytes(b"")  # as a machine that lost its power may leave it: that series is scored again
    process = start()
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert "slices scored before" in said
    pd.testing.assert_frame_equal(table(out), table(predicted))


@pytest.mark.skipif(shutil.which("java") is None, reason="Spark needs Java")
def test_spark_says_what_local_says(model, studies, predicted, tmp_path):
    pytest.importorskip("pyspark")
    broken = tmp_path / "in"
    shutil.copytree(studies[0], broken)
    name = sorted(broken.rglob("PHANTOM-0001/ST0001/SE0004/*"))[3]
    name.write_bytes(name.read_bytes()[:-1000])  # its header is whole
    options = {"input": str(broken), "model": model, "pictures": 0, "dicom": False}
    local = table(predict(PredictOptions(**options, out=str(tmp_path / "local"))))
    spark = table(
        predict(
            PredictOptions(**options, out=str(tmp_path / "spark"), engine="spark", spark_master="local[2]")
        )
    )
    pd.testing.assert_frame_equal(spark, local)
    assert local["error"].notna().sum() == 1
    assert local.loc["exam", "warnings"].str.contains("1 of 29 slices can't be read").sum() == 1


@pytest.mark.skipif(shutil.which("java") is None, reason="Spark needs Java")
def test_a_table_is_scored_as_the_document_says(model, studies, predicted):
    pytest.importorskip("pyspark")
    from pyspark.sql.functions import base64 as in_base64
    from pyspark.sql.functions import col, regexp_replace, struct

    slices = pd.read_csv(predicted / "predictions.csv").query("level == 'slice'").iloc[:5]
    rows = [(name, bytearray((studies[0] / name).read_bytes())) for name in slices["file"]]
    with spark_session("local[1]", name="test") as spark:
        table = spark.createDataFrame(
            [*rows, ("broken", bytearray(b"no DICOM"))], "path string, content binary"
        )
        udf = mlflow.pyfunc.spark_udf(
            spark, f"models:/{model}", env_manager="local", params={"on_error": "skip"}
        )
        text = regexp_replace(in_base64(col("content")), r"\s", "")
        scored = table.withColumn("dicom", text).withColumn("said", udf(struct("dicom")))
        said = {row["path"]: row.asDict() for row in scored.select("path", "said.*").collect()}
    broken = said.pop("broken")
    assert broken["probability_any"] is None
    assert "is not a readable DICOM file" in broken["error"]
    assert [said[name]["error"] for name in slices["file"]] == [""] * 5
    given = [said[name]["probability_any"] for name in slices["file"]]
    assert given == slices["probability_any"].tolist()


def without_rescale(dataset):
    del dataset.RescaleIntercept


def in_other_units(dataset):
    dataset.RescaleType = "MGML"


def of_too_many_bits(dataset):
    dataset.BitsAllocated = 32


def of_half_the_pixels(dataset):
    dataset.PixelData = dataset.PixelData[: len(dataset.PixelData) // 2]


def by_another_syntax(dataset):
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.102"  # MPEG-4
    dataset.PixelData = encapsulate([bytes(512)])
    dataset["PixelData"].is_undefined_length = True


@pytest.mark.parametrize(
    ("damage", "why", "remark"),
    [
        (of_half_the_pixels, "but it can't be read", "the series that was chosen first can't be read"),
        (without_rescale, "it can't be read: the file has no usable RescaleIntercept", "can't be read"),
        (in_other_units, "it can't be read: the file has a RescaleType other than HU", "can't be read"),
        (of_too_many_bits, "it can't be read: the file has BitsAllocated 32", "can't be read"),
        (by_another_syntax, "it can't be read: the file is compressed in a way", "can't be read"),
    ],
)
def test_a_series_that_cant_be_read_gives_way_to_the_next_and_it_is_said(
    model, tmp_path, capsys, damage, why, remark
):
    """Of a study with a 5 mm series that is damaged and one of 3 mm. Only pixels that are missing must be tried."""
    (export,) = write_exports(tmp_path / "in", studies=1, rows=64, cases=("map",))
    for path in files_of(tmp_path / "in"):
        dataset = pydicom.dcmread(path.path)
        if dataset.SeriesInstanceUID != export.right:
            dataset.ImageType, dataset.SeriesDescription = ["ORIGINAL", "PRIMARY", "AXIAL"], "HEAD 5.0"
            damage(dataset)
            dataset.save_as(path.path)
    told = PredictOptions(
        input=str(tmp_path / "in"), model=model, out=str(tmp_path / "out"), pictures=0, dicom=False
    )
    out = predict(told)
    rows = table(out, "series.csv")
    assert rows.loc[rows["chosen"], "series_uid"].tolist() == [export.right]
    assert why in rows.loc[~rows["chosen"], "why"].item()
    tried = "the series chosen first can't be read" in capsys.readouterr().out
    assert tried == (damage is of_half_the_pixels)
    worklist = table(out, "worklist.csv")
    assert remark in worklist["remarks"].item()
    assert worklist["slices"].item() == rows.loc[rows["chosen"], "num_slices"].item()
    assert worklist["status"].item() in ("flagged", "review")


def test_a_folder_of_zips_and_files_without_preamble_is_scored_and_what_is_odd_is_said(model, tmp_path):
    """Two plain studies: one in a zip, beside one that is broken; of the other each file is odd in a way of its own."""
    exports = write_exports(tmp_path / "made", studies=2, rows=64, cases=("map",))
    folder = tmp_path / "in"
    folder.mkdir()
    zipped, odd = sorted((tmp_path / "made").iterdir())
    with zipfile.ZipFile(folder / "one.zip", "w") as packed:
        for path in sorted(zipped.rglob("*")):
            packed.write(path, path.relative_to(zipped))
    (folder / "two.zip").write_bytes((folder / "one.zip").read_bytes()[:-1000])
    for number, file in enumerate(files_of(odd)):
        dataset = pydicom.dcmread(file.path)
        dataset.add_new("PixelPaddingValue", "SS", 1024)  # water
        dataset.RescaleType = "Hounsfield"
        if number % 3 == 0:
            del dataset.Modality
        dataset.save_as(file.path)
        data = file.path.read_bytes()
        data = data[132:] if number % 3 == 1 else gzip.compress(data) if number % 3 == 2 else data
        (folder / f"{number:05d}").write_bytes(data)
    told = PredictOptions(input=str(folder), model=model, out=str(tmp_path / "out"), pictures=0, dicom=True)
    out = predict(told)
    rows = table(out, "series.csv")
    assert set(rows.loc[rows["chosen"], "series_uid"]) == {one.right for one in exports}
    worklist = table(out, "worklist.csv").set_index("study_uid")
    first, second = (worklist.loc[one.study_uid] for one in exports)
    assert "read with care" not in str(first["remarks"])
    assert min(first["slices"], second["slices"]) > 30
    assert "read with care: its RescaleType is another word for HU" in second["remarks"]
    assert "read with care: its Pixel Padding Value stands inside the image too" in second["remarks"]
    assert re.search(r"its Modality does not say CT: [^;]*\(\d+ of \d+ slices\)", second["remarks"])
    assert "no DICOM preamble" in second["remarks"]
    skipped = table(out, "skipped.csv")
    assert skipped[["file", "reason"]].to_numpy().tolist() == [["two.zip", "archive"]]
    assert len(list(out.rglob("findings.dcm"))) == 2
    assert not (out / ".work").exists()


def test_what_a_user_sees_of_a_cut_head_is_that_it_is_to_be_looked_at(model, tmp_path):
    """32 slices, the top 8 deleted: not a clean head."""
    write_exports(tmp_path / "in", studies=1, rows=64, cases=("cut",))
    told = PredictOptions(
        input=str(tmp_path / "in"), model=model, out=str(tmp_path / "out"), pictures=0, dicom=False
    )
    worklist = table(predict(told), "worklist.csv")
    assert worklist["remarks"].notna().all()
    assert worklist["status"].item() in ("flagged", "review")


def test_a_lone_file_is_scored_and_said_to_be_a_part(model, studies, predicted, tmp_path):
    row = pd.read_csv(predicted / "predictions.csv").iloc[5]
    out = predict(
        PredictOptions(input=str(studies[0] / row["file"]), model=model, out=str(tmp_path / "o"), dicom=False)
    )
    exam, one = pd.read_csv(out / "predictions.csv").to_dict("records")
    assert one["probability_any"] == pytest.approx(row["probability_any"], abs=1e-12)
    assert exam["warnings"].startswith("less than a whole head: a single slice")


@needs_ct_ich
def test_real_slices_as_dicom_get_the_probabilities_that_evaluate_gives(model, tmp_path):
    source = open_source("ctich", CT_ICH)
    patients = sorted({Path(file.path).parts[1] for file in source.files()})[:3]
    chosen = [file for file in source.files() if Path(file.path).parts[1] in patients]

    class Some(type(source)):
        def files(self):
            return chosen

    some = Some(CT_ICH)
    options = BuildOptions(seed=0, workers=1, external=True)
    stored = build_stored_set(some, tmp_path / "set", options, progress=False)
    classifier = load_classifier(f"models:/{model}")
    specification = classifier.specification
    scores = specification.scores(score_rows(classifier, stored, np.arange(len(stored.table))).slices)
    expected = pd.DataFrame(specification.slices.calibrated(scores), index=stored.table["sop_uid"])
    (tmp_path / "in").mkdir()
    for number, file in enumerate(chosen):
        ct = source.read(file)
        identity = Identity(
            sop_uid=ct.sop_uid, patient_id=ct.patient_id, study_uid=ct.study_uid, series_uid=ct.series_uid,
            position=(-100.0, -100.0, ct.position_mm), orientation=(1, 0, 0, 0, 1, 0), pixel_spacing_mm=(0.4, 0.4),
        )  # fmt: skip
        write_slice(tmp_path / "in" / f"{number}.dcm", ct.hu, identity, Encoding())
    out = predict(
        PredictOptions(input=str(tmp_path / "in"), model=model, out=str(tmp_path / "o"), pictures=0)
    )
    frame = pd.read_csv(out / "predictions.csv")
    slices = frame[frame["level"] == "slice"].set_index("sop_uid")
    assert len(slices) == len(expected)
    given = slices[[f"probability_{label}" for label in specification.findings]]
    assert np.abs(given.to_numpy() - expected.loc[slices.index].to_numpy()).max() < 1e-12


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"input": "no/such/place"}, DataError, "is not there, expected a DICOM file, a folder or a zip"),
        ({"model": "ich-5class-none/1"}, ModelError, "is not to be found"),
    ],
)
def test_mistakes_are_one_line(model, studies, tmp_path, options, error, said):
    with pytest.raises(error, match=said) as raised:
        predict(
            PredictOptions(
                **{"input": str(studies[0]), "model": model, "out": str(tmp_path / "o"), **options}
            )
        )
    assert "\n" not in str(raised.value)


def test_a_folder_without_ct_says_what_was_in_it(model, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "Jane Doe.pdf").write_bytes(b"%PDF")
    with pytest.raises(DataError, match=r"no CT image in 1 file \(left out: 1 not dicom\)") as raised:
        predict(PredictOptions(input=str(tmp_path / "in"), model=model, out=str(tmp_path / "o")))
    assert "Jane" not in str(raised.value)


@pytest.mark.parametrize(
    "options", [{"series": "two"}, {"pictures": 25}, {"dicom": "yes"}, {"engine": "ray"}, {"workers": -1}]
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(OptionError, match="expected"):
        PredictOptions(**options)

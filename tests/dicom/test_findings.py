import re
import shutil
import subprocess
import warnings
from dataclasses import replace

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from ich_mlflow.dicom.findings import Algorithm, LabelFinding, write_findings
from ich_mlflow.errors import DataError, SliceError
from ich_mlflow.labels import ANY, SUBTYPES
from tests.factories import write_dicom

NEEDS_VALIDATOR = pytest.mark.skipif(
    shutil.which("dciodvfy") is None, reason="dciodvfy is not installed (Debian's dicom3tools)"
)
ALGORITHM = Algorithm(
    model_name="ich-5class", model_version="7", operating_point="max_f1", project_version="0.1.0"
)
FINDINGS = [
    LabelFinding(label="epidural", probability=0.0312, is_positive=False, threshold=0.25),
    LabelFinding(label="intraparenchymal", probability=0.91, is_positive=True, threshold=0.4),
    LabelFinding(label="intraventricular", probability=0.0, is_positive=False, threshold=0.5),
    LabelFinding(label="subarachnoid", probability=1.0, is_positive=True, threshold=0.5),
    LabelFinding(label="subdural", probability=0.125, is_positive=True, threshold=0.1),
    LabelFinding(label=ANY, probability=0.93, is_positive=True, threshold=0.3),
]
ROOT = "1.2.826.0.1.3680043.8.498"
#: A header as a hospital's: valid UIDs, a name that is no ASCII, dates and an order.
COMPLETE = {
    "SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müller^Jane", "PatientID": "P1",
    "IssuerOfPatientID": "HOSPITAL", "PatientBirthDate": "19500102", "PatientSex": "F",
    "StudyInstanceUID": f"{ROOT}.1", "SeriesInstanceUID": f"{ROOT}.2", "StudyDate": "20240131",
    "StudyTime": "101112.123", "AccessionNumber": "A7", "StudyID": "S9", "ReferringPhysicianName": "Roe^Richard",
}  # fmt: skip
EMPTY = [
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "StudyID",
]


def write_series(folder, num_slices=3, *, tags=None, without=()):
    """RSNA's tags, or with `tags` and valid SOP instance UIDs; `without` names what is taken out again."""

    def change(dataset, number):
        for keyword, value in (tags or {}).items():
            setattr(dataset, keyword, value)
        if tags:
            dataset.SOPInstanceUID = f"{ROOT}.3.{number}"
        for keyword in without:
            delattr(dataset, keyword)

    return [
        write_dicom(
            folder / f"ID_{number:09x}.dcm",
            np.zeros((4, 4)),
            change=lambda dataset, number=number: change(dataset, number),
        )
        for number in range(num_slices)
    ]


def write(folder, sources, **others):
    path = folder / "findings.dcm"
    options = {"findings": FINDINGS, "algorithm": ALGORITHM, "uid_seed": "prediction 1", **others}
    write_findings(path, sources, **options)
    return path


def groups_of(path):
    """What highdicom makes of the report: label of the tracking identifier, to the group."""
    report = hd.sr.srread(path).content
    return {
        group.tracking_identifier.removeprefix("ich_mlflow "): group
        for group in report.get_image_measurement_groups()
    }


def validate(path):
    """The lines of dciodvfy."""
    done = subprocess.run(["dciodvfy", str(path)], capture_output=True, check=False)
    return (done.stdout + done.stderr).decode("latin-1").splitlines()


def test_volumes_stand_beside_probabilities_and_say_what_they_are(tmp_path):
    measured = [replace(one, blood_ml=12.345) if one.label == "subdural" else one for one in FINDINGS]
    path = write(tmp_path, write_series(tmp_path), findings=measured)
    volume = groups_of(path)["subdural"].get_measurements()[1]
    assert (volume.name.value, volume.value, volume.unit.value) == ("118565006", 12.3, "cm3")
    assert len(groups_of(path)["epidural"].get_measurements()) == 1
    assert "Volume is an estimate by the same model" in texts_of(path)
    assert "Volume" not in texts_of(write(tmp_path, write_series(tmp_path)))


def texts_of(path):
    return " ".join(one.value for one in pydicom.dcmread(path).iterall() if one.keyword == "TextValue")


def test_a_volume_below_nothing_is_refused():
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"any: blood_ml is {wrong}, expected 0 or more"):
            replace(FINDINGS[-1], blood_ml=wrong)


def test_each_label_has_its_code_and_its_probability_in_percent(tmp_path):
    groups = groups_of(write(tmp_path, write_series(tmp_path)))
    found = {
        label: (
            group.finding_type.value,
            group.finding_type.scheme_designator,
            group.get_measurements()[0].value,
            group.get_qualitative_evaluations()[0].value.meaning,
        )
        for label, group in groups.items()
    }
    assert found == {
        "epidural": ("epidural", "99ICH", 3.12, "Absent"),
        "intraparenchymal": ("274100004", "SCT", 91.0, "Present"),
        "intraventricular": ("intraventricular", "99ICH", 0.0, "Absent"),
        "subarachnoid": ("21454007", "SCT", 100.0, "Present"),
        "subdural": ("35486000", "SCT", 12.5, "Present"),
        "any": ("1386000", "SCT", 93.0, "Present"),
    }
    assert set(found) == {*SUBTYPES, ANY}


def test_the_probability_is_a_certainty_of_finding_in_percent(tmp_path):
    group = groups_of(write(tmp_path, write_series(tmp_path)))["epidural"]
    (measurement,) = group.get_measurements()
    (evaluation,) = group.get_qualitative_evaluations()
    assert (measurement.name.value, measurement.name.scheme_designator) == ("111012", "DCM")
    assert (measurement.unit.value, measurement.unit.scheme_designator) == ("%", "UCUM")
    assert (evaluation.name.value, evaluation.value.value) == ("705057003", "272519000")


def test_model_version_operating_point_and_threshold_are_named(tmp_path):
    path = write(tmp_path, write_series(tmp_path))
    group = groups_of(path)["subdural"][0]
    texts = {item.name.meaning: item.value for item in group.ContentSequence if item.ValueType == "TEXT"}
    assert texts["Algorithm Name"] == "ich-5class"
    assert texts["Algorithm Version"] == "7"
    assert texts["Algorithm Parameters"] == "operating point max_f1, present from probability 0.1"
    dataset = pydicom.dcmread(path)
    assert (dataset.Manufacturer, dataset.ManufacturerModelName) == ("ich_mlflow", "ich-5class")
    assert list(dataset.SoftwareVersions) == ["0.1.0", "7"]


def test_the_report_says_that_it_is_research_and_unverified(tmp_path):
    dataset = pydicom.dcmread(write(tmp_path, write_series(tmp_path)))
    comment = dataset.ContentSequence[-1]
    assert comment.ConceptNameCodeSequence[0].CodeMeaning == "Comment"
    assert comment.TextValue.startswith("Research software, not a medical device.")
    assert dataset.ContentQualification == "RESEARCH"
    assert dataset.SeriesDescription == "ich_mlflow findings, research only"
    assert (dataset.VerificationFlag, dataset.CompletionFlag, dataset.PreliminaryFlag) == (
        "UNVERIFIED", "COMPLETE", "PRELIMINARY",
    )  # fmt: skip


def test_key_slices_are_the_source_images_of_their_group_and_all_slices_are_evidence(tmp_path):
    sources = write_series(tmp_path)
    path = write(tmp_path, sources, key_slices={"subdural": sources[1:]})
    groups = groups_of(path)
    assert [image.referenced_sop_instance_uid for image in groups["subdural"].source_images] == [
        "ID_000000001",
        "ID_000000002",
    ]
    assert groups["epidural"].source_images == []
    (study,) = pydicom.dcmread(path).CurrentRequestedProcedureEvidenceSequence
    (series,) = study.ReferencedSeriesSequence
    assert (study.StudyInstanceUID, series.SeriesInstanceUID) == ("ID_bbbbbbbbbb", "ID_cccccccccc")
    assert [one.ReferencedSOPInstanceUID for one in series.ReferencedSOPSequence] == [
        "ID_000000000",
        "ID_000000001",
        "ID_000000002",
    ]


def test_patient_and_study_of_a_complete_file_are_kept(tmp_path):
    dataset = pydicom.dcmread(write(tmp_path, write_series(tmp_path, tags=COMPLETE)))
    kept = {keyword: dataset[keyword].value for keyword in COMPLETE if keyword != "SeriesInstanceUID"}
    assert kept == {keyword: value for keyword, value in COMPLETE.items() if keyword != "SeriesInstanceUID"}
    assert dataset.Modality == "SR"
    assert dataset.SeriesNumber == 9001
    assert dataset.InstanceNumber == 1


@pytest.mark.parametrize("without", [(), ("SOPClassUID",), ("SOPClassUID", "PatientID", "StudyID")])
def test_of_a_file_with_rsna_tags_the_identifiers_are_kept_and_the_rest_is_empty(tmp_path, without):
    dataset = pydicom.dcmread(write(tmp_path, write_series(tmp_path, without=without)))
    assert dataset.PatientID == ("" if "PatientID" in without else "ID_aaaaaaaa")
    assert dataset.StudyInstanceUID == "ID_bbbbbbbbbb"
    assert [keyword for keyword in EMPTY if keyword not in dataset or dataset[keyword].value] == []
    assert "SpecificCharacterSet" not in dataset
    evidence = dataset.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    assert evidence.ReferencedSOPSequence[0].ReferencedSOPClassUID == pydicom.uid.CTImageStorage


@pytest.mark.parametrize(
    "tags",
    [
        {"PatientSex": "female", "StudyDate": "31.01.2024", "PatientBirthDate": "1950"},
        {"SpecificCharacterSet": "ISO_IR 999", "PatientName": "Müller"},
        {"PatientName": "Single", "StudyTime": "25:00"},
    ],
)
def test_values_that_break_the_standard_are_kept_and_nobody_hears_of_them(tmp_path, tags, capfd, caplog):
    with pydicom.config.disable_value_validation():
        sources = write_series(tmp_path, tags=tags)
    before = pydicom.dcmread(sources[0])
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        after = pydicom.dcmread(write(tmp_path, sources))
    for keyword in tags:
        assert after.get_item(keyword).value == before.get_item(keyword).value
    said = "".join((*capfd.readouterr(), caplog.text, *(str(one.message) for one in heard)))
    assert not any(value in said for keyword, value in tags.items() if keyword != "SpecificCharacterSet")


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_patient_and_study_are_kept_whatever_the_transfer_syntax(tmp_path, syntax):
    def change(dataset):
        for keyword, value in COMPLETE.items():
            setattr(dataset, keyword, value)

    source = write_dicom(tmp_path / "a.dcm", np.zeros((4, 4)), syntax=syntax, change=change)
    dataset = pydicom.dcmread(write(tmp_path, [source]))
    assert dataset.PatientName == "Müller^Jane"
    assert dataset.PatientID == "P1"
    assert dataset.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian


def test_uids_are_valid_and_the_same_for_the_same_seed(tmp_path):
    sources = write_series(tmp_path)
    first, again, other = (
        pydicom.dcmread(write(tmp_path, sources, uid_seed=seed)) for seed in ("one", "one", "two")
    )
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID"):
        assert first[keyword].value == again[keyword].value != other[keyword].value
        assert UID(first[keyword].value).is_valid
    assert first.file_meta.MediaStorageSOPInstanceUID == first.SOPInstanceUID != first.SeriesInstanceUID


def test_another_series_of_the_study_gets_a_report_of_its_own(tmp_path):
    uids = set()
    for series in ("ID_1", "ID_2"):
        (tmp_path / series).mkdir()
        sources = write_series(tmp_path / series, tags={"SeriesInstanceUID": series})
        uids.add(pydicom.dcmread(write(tmp_path, sources)).SOPInstanceUID)
    assert len(uids) == 2


@pytest.mark.parametrize(
    ("tags", "without", "message"),
    [
        ({}, ("StudyInstanceUID",), "source slice 1 of 1 has no StudyInstanceUID"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, ("RescaleSlope",), "another SOP class"),
    ],
)
def test_a_source_that_cannot_be_referred_to_is_named_by_its_place(tmp_path, tags, without, message):
    with pytest.raises(SliceError, match=message):
        write(tmp_path, write_series(tmp_path, 1, tags=tags, without=without))


def test_sources_of_two_patients_are_refused_without_naming_them(tmp_path):
    sources = []
    for patient in ("Alpha", "Beta"):
        (tmp_path / patient).mkdir()
        sources += write_series(tmp_path / patient, 1, tags={"PatientID": patient})
    with pytest.raises(DataError, match="several patients") as caught:
        write(tmp_path, sources)
    assert "Alpha" not in str(caught.value)


def test_what_is_no_dicom_file_or_not_there_or_nothing_is_refused(tmp_path):
    (tmp_path / "text.dcm").write_text("no image")
    with pytest.raises(SliceError, match="source slice 1 of 1 is not a readable DICOM file"):
        write(tmp_path, [tmp_path / "text.dcm"])
    with pytest.raises(SliceError, match="can't be read"):
        write(tmp_path, [tmp_path / "missing.dcm"])
    with pytest.raises(DataError, match="no source slices"):
        write(tmp_path, [])


def test_a_key_slice_of_another_series_a_wrong_label_and_a_wrong_probability_are_refused(tmp_path):
    sources = write_series(tmp_path)
    with pytest.raises(ValueError, match="among the sources"):
        write(tmp_path, sources[:1], key_slices={"subdural": sources[1:]})
    with pytest.raises(ValueError, match="expected one of"):
        LabelFinding(label="fracture", probability=0.5, is_positive=True, threshold=0.5)
    with pytest.raises(ValueError, match="between 0 and 1"):
        LabelFinding(label="any", probability=float("nan"), is_positive=True, threshold=0.5)


@NEEDS_VALIDATOR
def test_the_validator_finds_no_error_in_a_report_of_complete_files(tmp_path):
    sources = write_series(tmp_path, tags=COMPLETE)
    lines = validate(write(tmp_path, sources, key_slices={"subdural": sources[1:]}))
    assert "EnhancedSR" in lines
    assert [line for line in lines if line.startswith("Error")] == []


@NEEDS_VALIDATOR
def test_in_a_report_of_rsna_files_the_validator_minds_the_kept_identifiers_alone(tmp_path):
    sources = write_series(tmp_path, without=["SOPClassUID"])
    lines = validate(write(tmp_path, sources, key_slices={"subdural": sources[1:]}))
    errors = [line for line in lines if line.startswith("Error")]
    minded = {found for line in errors for found in re.findall(r'[<"](ID_\w+)[>"]', line)}
    kept = {"ID_bbbbbbbbbb", "ID_cccccccccc", "ID_000000000", "ID_000000001", "ID_000000002"}
    assert minded == kept
    assert {line for line in errors if not re.search(r'[<"]ID_\w+[>"]', line)} == {
        "Error - Dicom dataset contains invalid data values for Value Representations"
    }

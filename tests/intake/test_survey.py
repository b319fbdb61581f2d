import os
import time

import numpy as np
import pydicom
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

from ich_mlflow.dicom.image_header import ImageHeader, read_image_header
from ich_mlflow.errors import DataError, SliceError
from ich_mlflow.intake.files import InputFile, files_digest, files_of
from ich_mlflow.intake.survey import Image, StudyWithoutCT, group_studies, survey
from ich_mlflow.prediction.tables import skipped_table
from ich_mlflow.stages.predict.words import without_ct_said
from tests.factories import write_dicom

PIXELS = np.zeros((128, 128), int)


def write(folder, name="a.dcm", change=lambda dataset: None, **options):
    return write_dicom(folder / name, PIXELS, change=change, **options)


def describe(dataset):
    dataset.SeriesDescription, dataset.StudyDescription = "Head 5.0", "CT HEAD WO"
    dataset.BodyPartExamined, dataset.StudyDate = "head", "20260101"
    dataset.ImageType = ["DERIVED", "SECONDARY", "REFORMATTED"]
    dataset.SeriesNumber, dataset.InstanceNumber = 3, 7


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_a_header_says_what_choosing_needs(tmp_path, syntax):
    header = read_image_header(write(tmp_path, change=describe, syntax=syntax))
    assert (header.sop_uid, header.patient_id, header.study_uid) == ("a", "ID_aaaaaaaa", "ID_bbbbbbbbbb")
    assert (header.description, header.study_description, header.body_part) == (
        "Head 5.0",
        "CT HEAD WO",
        "HEAD",
    )
    assert (header.series_number, header.instance_number, header.study_date) == (3, 7, "20260101")
    assert header.image_type == "DERIVED\\SECONDARY\\REFORMATTED"
    assert header.field_of_view_mm == pytest.approx((64, 51.2))  # 128 rows 0.5 mm apart, columns 0.4
    assert (header.position_mm, header.tilt_degrees) == (40, 0)


def test_without_a_position_it_is_an_image_all_the_same(tmp_path):
    def change(dataset):
        del dataset.ImagePositionPatient, dataset.PixelSpacing

    header = read_image_header(write(tmp_path, change=change))
    assert np.isnan([header.position_mm, header.tilt_degrees, *header.field_of_view_mm]).all()


def a_capture_without(keyword):
    def change(dataset):
        dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
        delattr(dataset, keyword)

    return change


def put(keyword, value):
    return lambda dataset: setattr(dataset, keyword, value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (put("Modality", "MR"), "not_ct"),
        (a_capture_without("RescaleSlope"), "no_image"),
        (a_capture_without("ImagePositionPatient"), "no_image"),
        (put("SeriesInstanceUID", ""), "no_identity"),
        (put("SOPInstanceUID", ""), "no_identity"),
    ],
)
def test_other_files_are_refused_with_a_reason(tmp_path, change, reason):
    with pytest.raises(SliceError) as error:
        read_image_header(write(tmp_path, change=change))
    assert error.value.reason == reason


def test_files_that_are_no_dicom_have_their_reasons(tmp_path):
    whole = write(tmp_path, "whole.dcm")
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "1-empty").touch()
    (folder / "2.pdf").write_bytes(b"%PDF-1.7" + b"x" * 500)
    (folder / "3-cut.dcm").write_bytes(whole.read_bytes()[:200])
    (folder / "4-gone").symlink_to(folder / "nowhere")
    (folder / "5.dcm").write_bytes(whole.read_bytes())
    found = survey(files_of(folder))
    assert [(one.file, one.reason) for one in found.skipped] == [
        ("1-empty", "empty"), ("2.pdf", "not_dicom"), ("3-cut.dcm", "truncated"), ("4-gone", "unreadable"),
    ]  # fmt: skip
    assert found.num_images == 1
    assert all(one.file not in one.detail for one in found.skipped)  # a name may be a patient's


@pytest.mark.parametrize(
    ("keyword", "value", "found", "expected"),
    [
        ("InstanceNumber", b"9" * 12, "instance_number", 0),
        ("InstanceNumber", b"1e308 ", "instance_number", 0),
        ("ImagePositionPatient", b"0\\0\\1e300", "position_mm", None),
        ("SliceLocation", b"-1e99 ", "slice_location_mm", None),
        ("PixelSpacing", b"1e307\\1 ", "field_of_view_mm", (1e5, 128)),
        ("PixelSpacing", b"nan\\1 ", "field_of_view_mm", None),
    ],
)
def test_numbers_that_no_scanner_gives_are_none(tmp_path, keyword, value, found, expected):
    def change(dataset):
        tag = pydicom.tag.Tag(keyword)
        vr = pydicom.datadict.dictionary_VR(tag)
        dataset[tag] = pydicom.dataelem.RawDataElement(tag, vr, len(value), value, 0, False, True)

    said = getattr(read_image_header(write(tmp_path, change=change)), found)
    assert np.isnan(said).all() if expected is None else said == expected


def test_of_copies_the_largest_is_kept(tmp_path):
    whole = write(tmp_path, "b.dcm").read_bytes()
    (tmp_path / "a-cut.dcm").write_bytes(whole[:-1000])
    (tmp_path / "c-copy.dcm").write_bytes(whole)
    found = survey(files_of(tmp_path))
    ((image,),) = found.studies.values()
    assert image.file.name == "b.dcm"
    assert [(one.file, one.reason) for one in found.skipped] == [
        ("a-cut.dcm", "duplicate"), ("c-copy.dcm", "duplicate"),
    ]  # fmt: skip
    assert found.reasons() == {"duplicate": 2}


def test_studies_are_told_by_patient_and_study_and_in_the_order_of_the_files(tmp_path):
    for number, (patient, study) in enumerate(
        [("p2", "s2"), ("p1", "s1"), ("p2", "s2"), ("p1", "s3"), ("p1", "")]
    ):

        def change(dataset, patient=patient, study=study):
            dataset.PatientID, dataset.StudyInstanceUID = patient, study

        write(tmp_path, f"{number}.dcm", change)
    found = survey(files_of(tmp_path))
    assert list(found.studies) == [("p2", "s2"), ("p1", "s1"), ("p1", "s3"), ("p1", "ID_cccccccccc")]
    assert [len(images) for images in found.studies.values()] == [2, 1, 1, 1]


def test_a_study_without_a_ct_image_is_named_with_what_it_has_instead(tmp_path):
    for name, study, modality in (
        ("1.dcm", "s1", "CT"), ("2.dcm", "s2", "MR"), ("3.dcm", "s1", "SR"), ("4.dcm", "s2", "MR"),
        ("5.dcm", "s2", "PR"),
    ):  # fmt: skip

        def change(dataset, study=study, modality=modality):
            dataset.PatientID, dataset.StudyInstanceUID, dataset.Modality = "p", study, modality

        write(tmp_path, name, change)
    found = survey(files_of(tmp_path))
    # s1 has a CT image, so that its report is beside it
    assert found.without_ct() == [
        StudyWithoutCT(patient_id="p", study_uid="s2", modalities=("MR", "PR"), num_files=3)
    ]
    assert without_ct_said(found.without_ct()) == (
        "not scored: 1 study without a CT image (MR, PR, 3 files; skipped.csv names them)"
    )
    table = skipped_table(found.skipped)
    assert table[["file", "study_uid", "modality"]].values.tolist() == [
        ["2.dcm", "s2", "MR"], ["3.dcm", "s1", "SR"], ["4.dcm", "s2", "MR"], ["5.dcm", "s2", "PR"],
    ]  # fmt: skip


def test_a_file_a_folder_or_nothing(tmp_path):
    with pytest.raises(DataError, match="is not there"):
        files_of(tmp_path / "no")
    (tmp_path / "in").mkdir()
    with pytest.raises(DataError, match="holds no files"):
        files_of(tmp_path / "in")
    (tmp_path / "in" / "out").mkdir()
    for name in ("b", "a", "out/c"):
        (tmp_path / "in" / name).write_text("x")
    assert [file.name for file in files_of(tmp_path / "in")] == ["a", "b", "out/c"]
    assert [file.name for file in files_of(tmp_path / "in", but=[tmp_path / "in" / "out"])] == ["a", "b"]
    assert [file.name for file in files_of(tmp_path / "in" / "a")] == ["a"]


def test_the_digest_changes_with_names_sizes_and_times(tmp_path):
    file = tmp_path / "a"
    file.write_text("x")
    digests = {files_digest(files_of(tmp_path))}
    file.write_text("xy")
    digests.add(files_digest(files_of(tmp_path)))
    file.rename(tmp_path / "b")
    digests.add(files_digest(files_of(tmp_path)))
    assert len(digests) == 3
    assert files_digest(files_of(tmp_path)) in digests


def test_patients_that_share_their_uids_are_two_and_no_copies(tmp_path):
    for patient in "AB":
        write(tmp_path, f"{patient}.dcm", put("PatientID", patient))
    found = survey(files_of(tmp_path))
    assert [patient for patient, _ in found.studies] == ["A", "B"]
    assert found.skipped == []


@pytest.mark.parametrize(
    ("change", "has_frames"),
    [
        (put("SOPClassUID", "1.2.840.10008.5.1.4.1.1.2.1"), True),
        (put("NumberOfFrames", 12), True),
        (str, False),
    ],
)
def test_enhanced_ct_keeps_its_study(tmp_path, change, has_frames):
    assert read_image_header(write(tmp_path, change=change)).has_frames == has_frames


def test_the_first_of_several_kernels_counts(tmp_path):
    assert (
        read_image_header(write(tmp_path, change=put("ConvolutionKernel", ["Hr60f", "3"]))).kernel == "Hr60f"
    )
    assert read_image_header(write(tmp_path, change=put("ConvolutionKernel", "H31s"))).kernel == "H31s"
    assert read_image_header(write(tmp_path)).kernel == ""


def test_an_image_type_of_numbers_ends_nothing(tmp_path):
    def change(dataset):
        dataset.add_new("ImageType", "US", 7)

    write(tmp_path, change=change)
    assert survey(files_of(tmp_path)).num_images == 1


def test_names_that_are_no_utf8_are_written_out(tmp_path):
    (tmp_path / "in").mkdir()
    with open(os.fsencode(tmp_path / "in") + b"/caf\xe9.dcm", "wb") as file:
        file.write(write(tmp_path).read_bytes())
    (file,) = files_of(tmp_path / "in")
    assert file.name == "caf\\xe9.dcm"
    assert survey([file]).num_images == 1


def test_a_pipe_is_not_waited_for(tmp_path):
    (tmp_path / "in").mkdir()
    os.mkfifo(tmp_path / "in" / "pipe")
    (one,) = survey(files_of(tmp_path / "in")).skipped
    assert (one.reason, one.detail) == ("not_dicom", "is no regular file")


def test_what_is_ours_is_left_out_by_whatever_name_it_is_reached(tmp_path):
    (tmp_path / "in" / "out").mkdir(parents=True)
    for name in ("a", "out/b", "mlflow.db"):
        (tmp_path / "in" / name).write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    but = [tmp_path / "in" / "out", tmp_path / "link" / "mlflow.db"]
    assert [file.name for file in files_of(tmp_path / "link", but=but)] == ["a"]


def image(k, patient, *, sop=None, position=None, series="series", study="study"):
    header = ImageHeader(
        sop_uid=sop or f"{patient}-{k}",
        series_uid=series,
        study_uid=study,
        patient_id=patient,
        position_mm=5.0 * k if position is None else position,
    )
    return Image(file=InputFile(name=f"{patient}/{k}", path=None, num_bytes=k), header=header)


def studies_of(images):
    return {key: len(mine) for key, mine in group_studies(images).items()}


def test_a_study_whose_slices_bear_two_patient_ids_in_turn_is_one():
    alternate = [image(k, ("12345", "0012345")[k % 2]) for k in range(31)]
    assert studies_of(alternate) == {("12345", "study"): 31}
    strange = [image(k, ("A", "B")[k % 2]) for k in range(30)]
    assert len(studies_of(strange)) == 1


def test_an_anonymiser_that_gave_each_slice_a_patient_of_its_own_keeps_nobody_waiting():
    own = [image(k, f"P{k}", position=5.0 * k) for k in range(5000)]
    started = time.process_time()
    assert list(studies_of(own).values()) == [5000]
    assert time.process_time() - started < 2


def test_patients_that_an_anonymised_export_gave_the_same_uids_stay_apart():
    same_slices = [image(k, patient, sop=str(k)) for patient in ("A", "B") for k in range(30)]
    assert studies_of(same_slices) == {("A", "study"): 30, ("B", "study"): 30}
    same_places = [image(k, patient) for patient in ("A", "B") for k in range(30)]
    assert studies_of(same_places) == {("A", "study"): 30, ("B", "study"): 30}


def test_series_of_their_own_under_one_study_stay_apart_unless_the_ids_are_alike():
    own = [
        image(k, patient, series=patient, position=offset + k)
        for patient, offset in (("A", 0), ("B", 500))
        for k in range(9)
    ]
    assert len(studies_of(own)) == 2
    alike = [
        image(k, patient, series=patient, position=offset + k)
        for patient, offset in (("7", 0), ("007", 500))
        for k in range(9)
    ]
    assert len(studies_of(alike)) == 1


def test_a_link_that_leads_out_is_followed_only_where_that_was_asked_for(tmp_path):
    outside, folder = tmp_path / "outside", tmp_path / "in"
    folder.mkdir()
    outside.mkdir()
    write_dicom(outside / "far.dcm", np.zeros((32, 32)))
    write_dicom(folder / "near.dcm", np.zeros((32, 32)))
    (folder / "out.dcm").symlink_to(outside / "far.dcm")
    (folder / "within.dcm").symlink_to(folder / "near.dcm")
    files = files_of(folder)
    assert [file.leads_out for file in files] == [False, True, False]
    found = survey(files)
    assert {one.file: one.reason for one in found.skipped} == {"out.dcm": "link", "within.dcm": "duplicate"}
    followed = files_of(folder, follow_links=True)
    assert survey(followed).num_images == 2
    assert files_digest(files) != files_digest(followed)

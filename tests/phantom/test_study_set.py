import json
from collections import Counter, defaultdict

import numpy as np
import pydicom
import pytest
from pydicom.uid import UID, CTImageStorage, MediaStorageDirectoryStorage, MRImageStorage

from ich_mlflow.errors import OptionError
from ich_mlflow.phantom.distractors import chest
from ich_mlflow.phantom.exam import make_exam
from ich_mlflow.phantom.study_set import DISTRACTORS, JUNK, PLAIN, StudySetOptions, write_study_set

OPTIONS = StudySetOptions(studies=4, rows=128, exam_rate=0.5, junk=17)
SMALL = StudySetOptions(studies=1, rows=64, junk=8)
IMAGES = "PHANTOM-*/ST0001/SE*/IM[0-8]*"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("studies") / "export"


@pytest.fixture(scope="module")
def series(folder):
    return write_study_set(folder, OPTIONS)


@pytest.fixture(scope="module")
def images(folder, series):
    """The images of each series in the order of their files, by the series' UID."""
    found = defaultdict(list)
    for path in sorted(folder.glob(IMAGES)):
        dataset = pydicom.dcmread(path)
        found[dataset.SeriesInstanceUID].append(dataset)
    return found


def of_kind(kind, series, images):
    """The first series of a kind."""
    return images[next(one.series_uid for one in series if one.kind == kind)]


def hu_of(dataset):
    return dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)


def along_normal(datasets):
    cosines = np.array(datasets[0].ImageOrientationPatient, float)
    normal = np.cross(cosines[:3], cosines[3:])
    return np.array([normal @ np.array(one.ImagePositionPatient, float) for one in datasets])


def test_the_same_options_give_the_same_bytes(tmp_path):
    first, second = write_study_set(tmp_path / "a", SMALL), write_study_set(tmp_path / "b", SMALL)
    assert first == second
    files = {path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file()}
    assert files == {
        path.relative_to(tmp_path / "b") for path in (tmp_path / "b").rglob("*") if path.is_file()
    }
    assert all((tmp_path / "a" / one).read_bytes() == (tmp_path / "b" / one).read_bytes() for one in files)
    assert (tmp_path / "a.truth.json").read_bytes() == (tmp_path / "b.truth.json").read_bytes()


def test_another_seed_gives_other_uids(tmp_path):
    plain = [
        write_study_set(
            tmp_path / str(seed), StudySetOptions(studies=1, seed=seed, rows=64, distractors=False)
        )
        for seed in (0, 1)
    ]
    assert [[one.kind for one in found] for found in plain] == [[PLAIN], [PLAIN]]
    assert plain[0][0].series_uid != plain[1][0].series_uid


def test_four_studies_hold_every_kind_and_the_first_all_of_them(series):
    by_study = defaultdict(list)
    for one in series:
        by_study[one.study_uid].append(one.kind)
    kinds = list(by_study.values())
    assert {PLAIN, *DISTRACTORS} == set(kinds[0])
    assert set().union(*kinds[1:4]) == {PLAIN, *DISTRACTORS}
    assert kinds[4] == ["chest", "chest_untagged"]


def test_plain_series_alone_are_right_and_the_chest_study_has_none(series):
    assert [one.kind for one in series if one.is_right] == [PLAIN] * 4
    assert len({one.study_uid for one in series}) == 5
    assert series[-1].study_uid not in {one.study_uid for one in series if one.is_right}


def test_the_files_are_those_of_the_series_listed(series, images):
    assert {uid: len(found) for uid, found in images.items()} == {
        one.series_uid: one.num_slices for one in series
    }
    for one in series:
        assert {found.StudyInstanceUID for found in images[one.series_uid]} == {one.study_uid}


def test_every_second_study_has_names_without_extension(folder, series):
    suffixes = [
        {path.suffix for path in folder.glob(f"PHANTOM-000{n}/ST0001/SE*/IM[0-8]*")} for n in range(5)
    ]
    assert suffixes == [{""}, {".dcm"}, {""}, {".dcm"}, {""}]


def test_uids_are_valid_and_of_images_different(images):
    datasets = [one for found in images.values() for one in found]
    for one in datasets:
        assert one.SOPInstanceUID == one.file_meta.MediaStorageSOPInstanceUID
        assert one.SOPClassUID == one.file_meta.MediaStorageSOPClassUID
        assert all(
            UID(uid).is_valid for uid in (one.SOPInstanceUID, one.SeriesInstanceUID, one.StudyInstanceUID)
        )
    assert len({one.SOPInstanceUID for one in datasets}) == len(datasets)


def test_plain_headers_are_whole(series, images):
    first = of_kind(PLAIN, series, images)[0]
    assert first.SOPClassUID == CTImageStorage
    assert (first.PatientName, first.PatientID, first.Modality) == ("Phantom^0", "PHANTOM-0000", "CT")
    assert (first.SeriesDescription, first.ConvolutionKernel) == ("HEAD WO 5.0", "H31s")
    assert (first.ImageType, first.BodyPartExamined) == (["ORIGINAL", "PRIMARY", "AXIAL"], "HEAD")
    for keyword in (
        "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber", "StudyID", "KVP",
        "ReferringPhysicianName", "StudyDescription", "SeriesNumber", "AcquisitionNumber", "Manufacturer",
        "FrameOfReferenceUID", "PatientPosition", "SpecificCharacterSet", "WindowCenter", "WindowWidth",
    ):  # fmt: skip
        assert first[keyword].value, keyword
    assert "ContrastBolusAgent" not in first


def test_plain_pixels_are_the_exams_whatever_they_are_stored_as(series, images):
    plain = [images[one.series_uid] for one in series if one.is_right]
    for number, lowest in ((0, -1024), (1, -3024)):
        exam = make_exam(OPTIONS.exam_options(), number)
        found = np.stack([hu_of(one) for one in plain[number]])
        np.testing.assert_array_equal(found, np.maximum(exam.hu, lowest))


def test_distractors_say_what_they_are_where_they_are_tagged(series, images):
    first = {kind: of_kind(kind, series, images)[0] for kind in DISTRACTORS}
    assert list(first["localizer"].ImageType)[2] == "LOCALIZER"
    assert first["chest"].BodyPartExamined == "CHEST"
    assert "BodyPartExamined" not in first["chest_untagged"]
    assert first["chest_untagged"].SeriesDescription == "5.0 STND"
    assert first["bone"].ConvolutionKernel == "H70h"
    assert first["contrast"].ContrastBolusAgent == "Iohexol 300"
    assert "ContrastBolusAgent" not in first["contrast_untagged_header"]
    assert first["contrast_untagged_header"].SeriesDescription == "Head + C"
    assert list(first["coronal"].ImageType) == ["DERIVED", "SECONDARY", "REFORMATTED"]
    assert (first["dose_report"].Modality, "ImagePositionPatient" in first["dose_report"]) == ("CT", False)
    assert (first["mr"].SOPClassUID, first["mr"].Modality) == (MRImageStorage, "MR")


def test_axial_positions_go_up_along_the_normal_by_the_step(series, images):
    geometry = make_exam(OPTIONS.exam_options(), 0).geometry
    normal_step = geometry.step_mm * np.cos(np.deg2rad(geometry.tilt_degrees))
    for kind, share in ((PLAIN, 1), ("bone", 1), ("contrast", 1), ("thin", 1.25 / geometry.step_mm)):
        steps = np.diff(along_normal(of_kind(kind, series, images)))
        np.testing.assert_allclose(steps, normal_step * share, atol=1e-4)
    np.testing.assert_allclose(np.diff(along_normal(of_kind("chest", series, images))), 5.0, atol=1e-4)
    # Seen from the front, with rows to the left and columns to the feet, the normal leads backwards.
    np.testing.assert_allclose(np.diff(along_normal(of_kind("coronal", series, images))), 5.0, atol=1e-4)


def test_thin_slices_are_1_25_mm_apart_and_in_the_place_of_a_thick_one_the_same(series, images):
    geometry = make_exam(OPTIONS.exam_options(), 0).geometry
    thin, plain = of_kind("thin", series, images), of_kind(PLAIN, series, images)
    # The first and the last thick slice stand; 29 gaps of 5 mm hold 4 thin ones each: 117 of 30.
    assert len(thin) == int((len(plain) - 1) * geometry.step_mm / 1.25 + 1e-6) + 1
    assert 3.5 < len(thin) / len(plain) < 4.5
    np.testing.assert_array_equal(hu_of(thin[0]), hu_of(plain[0]))


def test_bone_is_noisier_and_contrast_brighter_than_plain(series, images):
    middle = len(of_kind(PLAIN, series, images)) // 2
    plain, bone, contrast = (
        hu_of(of_kind(kind, series, images)[middle])[48:80, 48:80] for kind in (PLAIN, "bone", "contrast")
    )
    assert bone.std() > 1.5 * plain.std()
    assert np.median(contrast - plain) == 15


def test_a_chest_has_lungs_and_a_head_none(series, images):
    def air_within(dataset):
        """Share of the disc of 80 mm around the middle that is air or lung."""
        hu = hu_of(dataset)
        offset = (np.arange(len(hu)) - (len(hu) - 1) / 2) * float(dataset.PixelSpacing[0])
        return float((hu[np.hypot(offset[:, None], offset) < 80] < -600).mean())

    chest_slice = of_kind("chest_untagged", series, images)[15]
    assert air_within(chest_slice) > 0.3
    assert chest_slice.Rows * float(chest_slice.PixelSpacing[0]) == pytest.approx(360)
    plain = of_kind(PLAIN, series, images)
    assert air_within(plain[len(plain) // 2]) < 0.1


def test_chest_slices_have_air_outside_lung_inside_and_bone_behind():
    planes = list(chest(128, step_mm=5.0, rng=np.random.default_rng(0)))
    hu = planes[10].pixels
    # 360 mm over 128 pixels: 2.8125 mm. The spine's middle lies 62 mm behind the image's, 22 pixels.
    assert hu[0, 0] < -900
    assert 150 < np.median(hu[84:88, 62:66]) < 300
    assert len(planes) == 40


def test_reformats_and_localizers_stand_upright(series, images):
    def mean_width(image, rows):
        return (image[rows] > -500).sum(axis=1).mean()

    for kind in ("coronal", "localizer"):
        found = of_kind(kind, series, images)
        image = hu_of(found[len(found) // 2])
        # The vertex is narrower than what lies at mid-height.
        assert mean_width(image, slice(0, 6)) < mean_width(image, slice(len(image) // 2, len(image) // 2 + 6))
        assert list(map(float, found[len(found) // 2].ImageOrientationPatient))[3:] == [0, 0, -1]


def test_dose_sheets_are_grey_in_even_studies_and_coloured_in_odd_ones(series, images):
    sheets = [images[one.series_uid][0] for one in series if one.kind == "dose_report"]
    assert [one.PhotometricInterpretation for one in sheets] == ["MONOCHROME2", "RGB"]
    assert [one.pixel_array.shape for one in sheets] == [(512, 512), (512, 512, 3)]


def test_junk_is_counted_by_kind(folder, series):
    # 17 of 8 kinds in turn: two of each, and a third of the first.
    truth = json.loads(folder.with_name("export.truth.json").read_text())
    assert truth["junk"] == {kind: 2 for kind in JUNK} | {"pdf": 3}
    assert len(truth["series"]) == len(series)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) == sum(one.num_slices for one in series) + 17
    found = Counter(path.name.rstrip("0123456789.")[:4] for path in files if not path.name.startswith("IM"))
    assert sum(path.stat().st_size == 0 for path in files) == 2
    assert sum(path.suffix == ".PDF" for path in files) == 3
    assert found["DICO"] == found["Thum"] == 2
    for path in folder.rglob("DICOMDIR*"):
        assert pydicom.dcmread(path).file_meta.MediaStorageSOPClassUID == MediaStorageDirectoryStorage


def test_duplicates_and_truncated_files_are_of_slices_of_plain_series(folder, series, images):
    plain = {one.SOPInstanceUID for found in series if found.is_right for one in images[found.series_uid]}
    whole = {path.read_bytes() for path in folder.glob(IMAGES)}
    copies, parts = sorted(folder.rglob("COPY*")), sorted(folder.rglob("PART*"))
    assert (len(copies), len(parts)) == (2, 2)
    for path in copies:
        assert path.read_bytes() in whole
        assert pydicom.dcmread(path).SOPInstanceUID in plain
    for path in parts:
        assert pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID in plain
        assert path.read_bytes() not in whole


def test_options_out_of_range_and_a_folder_in_use_are_refused(tmp_path):
    for wrong in ({"studies": 0}, {"junk": -1}, {"rows": 63}, {"exam_rate": 2.0}, {"seed": -1}):
        with pytest.raises(OptionError, match=next(iter(wrong))):
            StudySetOptions(**wrong)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OptionError, match="expected an empty folder"):
        write_study_set(tmp_path, SMALL)

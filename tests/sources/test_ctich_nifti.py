import gzip
import itertools
import os
import pickle
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from ich_mlflow.errors import DataError, SliceError
from ich_mlflow.sources import ctich_nifti
from ich_mlflow.sources.ctich import CtIchSource
from ich_mlflow.sources.nifti import forms_differ, parse_volume
from ich_mlflow.stages.preprocess.options import PreprocessOptions
from ich_mlflow.stages.preprocess.preprocess import preprocess
from tests.factories import CTICH_HEADER, write_ctich

NORMAL_1, EPIDURAL_2 = "49,1,0,0,0,0,0,1,0", "49,2,0,0,0,1,0,0,1"
#: Voxels of 0.5 mm from left to right, 0.4 from back to front, 5 from feet to head, counted from a corner.
AFFINE = np.array([[0.5, 0, 0, -10], [0, 0.4, 0, -20], [0, 0, 5, 30], [0, 0, 0, 1.0]])


def volume(num_slices=2) -> np.ndarray:
    """HU [3, 2, n] in RAS+: i + 10 j + 100 k above -1000."""
    i, j, k = np.indices((3, 2, num_slices))
    return (-1000 + i + 10 * j + 100 * k).astype(np.int16)


def write_volume(path, hu=None, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(volume() if hu is None else hu, affine), path)
    return path


def write_table(root, rows, *, header=CTICH_HEADER):
    root.mkdir(parents=True, exist_ok=True)
    table = root / "hemorrhage_diagnosis_raw_ct.csv"
    table.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


def folder_with(root, rows=(NORMAL_1, EPIDURAL_2), *, file="049.nii", hu=None, affine=AFFINE):
    write_table(root, rows)
    write_volume(root / "ct_scans" / file, hu, affine)
    return CtIchSource(str(root))


def slices(source):
    return [source.read(file) for file in source.files()]


def refused(path, match) -> SliceError:
    with pytest.raises(SliceError, match=match) as caught:
        parse_volume(path.read_bytes(), str(path))
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return caught.value


def test_the_kth_slice_as_stored_has_the_labels_of_slice_number_k(tmp_path):
    source = folder_with(tmp_path)
    first, second = source.files()
    assert (first.sop_uid, first.path, first.subtypes) == (
        "CTICH_049_01", "ct_scans/049.nii#1", (0, 0, 0, 0, 0)
    )  # fmt: skip
    assert (second.sop_uid, second.path, second.subtypes) == (
        "CTICH_049_02", "ct_scans/049.nii#2", (1, 0, 0, 0, 0)
    )  # fmt: skip
    assert (source.name, source.label_level) == ("ctich", "slice")
    ct_slice = source.read(second)
    assert (ct_slice.sop_uid, ct_slice.patient_id) == ("CTICH_049_02", "049")
    assert (ct_slice.study_uid, ct_slice.series_uid) == ("CTICH_049_study", "CTICH_049_series")


def test_rows_go_to_the_back_and_columns_to_the_patients_left(tmp_path):
    first, second = slices(folder_with(tmp_path))
    # The voxel furthest right (i = 2) and in front (j = 1) is the upper left corner of the picture.
    assert first.hu.tolist() == [[-988, -989, -990], [-998, -999, -1000]]
    assert second.hu[0, 0] == -888
    assert first.hu.dtype == np.int16
    assert first.pixel_spacing_mm == (pytest.approx(0.4), pytest.approx(0.5))
    assert (first.position_mm, second.position_mm) == (30, 35)


@pytest.mark.parametrize(
    "codes", [(*axes, "S") for axes in [*itertools.product("LR", "AP"), *itertools.product("AP", "LR")]]
)
def test_however_the_file_lies_in_the_plane_the_picture_is_the_same(tmp_path, codes):
    image = nibabel.Nifti1Image(volume(), AFFINE)
    turn = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(AFFINE), nibabel.orientations.axcodes2ornt(codes)
    )
    turned = image.as_reoriented(turn)
    assert nibabel.aff2axcodes(turned.affine) == codes
    first, second = slices(folder_with(tmp_path, hu=np.asarray(turned.dataobj), affine=turned.affine))
    assert first.hu.tolist() == [[-988, -989, -990], [-998, -999, -1000]]
    assert first.pixel_spacing_mm == (pytest.approx(0.4), pytest.approx(0.5))
    assert (first.position_mm, second.position_mm) == (pytest.approx(30), pytest.approx(35))


def test_a_file_stored_from_the_head_down_keeps_its_numbers_and_tells_its_order_by_position(tmp_path):
    downwards = AFFINE @ np.diag([1, 1, -1, 1])
    first, second = slices(folder_with(tmp_path, affine=downwards))
    assert (first.sop_uid, first.hu[0, 0], first.position_mm) == ("CTICH_049_01", -988, 30)
    assert (second.sop_uid, second.hu[0, 0], second.position_mm) == ("CTICH_049_02", -888, 25)


def test_a_tilted_gantry_is_measured_along_the_normal(tmp_path):
    tilt = np.deg2rad(20)
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]]
    first, second = slices(folder_with(tmp_path, affine=turn @ AFFINE))
    assert first.hu.tolist() == [[-988, -989, -990], [-998, -999, -1000]]
    assert second.position_mm - first.position_mm == pytest.approx(5, abs=1e-4)


def test_the_slope_of_the_header_is_applied_and_hu_are_whole_numbers_from_minus_1024(tmp_path):
    stored = np.zeros((3, 2, 2), np.int16)
    stored[:, 0, 0] = -14620, 703, 15500  # times 0.2 and minus 100: -3024, 40.6 and 3000 HU
    image = nibabel.Nifti1Image(stored, AFFINE)
    image.header.set_slope_inter(0.2, -100)
    source = folder_with(tmp_path)
    nibabel.save(image, tmp_path / "ct_scans" / "049.nii")
    assert source.read(source.files()[0]).hu[1].tolist() == [3000, 41, -1024]


def test_what_is_no_number_becomes_air(tmp_path):
    hu = volume().astype(np.float32)
    hu[0, 0, 0], hu[1, 0, 0] = np.nan, np.inf
    assert slices(folder_with(tmp_path, hu=hu))[0].hu[1].tolist() == [-998, -1024, -1024]


def test_packed_files_and_files_of_the_other_byte_order_are_read(tmp_path):
    expected = [one.hu.tolist() for one in slices(folder_with(tmp_path / "plain"))]
    packed = folder_with(tmp_path / "packed", file="049.nii.gz")
    assert packed.files()[0].path == "ct_scans/049.nii.gz#1"
    assert [one.hu.tolist() for one in slices(packed)] == expected
    other = folder_with(tmp_path / "big")
    big = nibabel.Nifti1Image(volume().astype(">i2"), AFFINE, nibabel.Nifti1Header(endianness=">"))
    nibabel.save(big, tmp_path / "big" / "ct_scans" / "049.nii")
    assert [one.hu.tolist() for one in slices(other)] == expected


def test_a_url_gives_the_same_slices_as_the_path(tmp_path):
    by_path = folder_with(tmp_path)
    by_url = CtIchSource(f"file://{tmp_path}")
    assert by_path.files() == by_url.files()
    assert [one.hu.tolist() for one in slices(by_url)] == [one.hu.tolist() for one in slices(by_path)]
    assert pickle.loads(pickle.dumps(by_path)) == by_path


def test_labels_beyond_the_volume_lack_a_file_and_slices_without_labels_are_listed(tmp_path):
    source = folder_with(tmp_path, [NORMAL_1, "49,3,0,0,0,0,0,1,0", "50,1,0,0,0,0,0,1,0"])
    assert [file.sop_uid for file in source.files()] == ["CTICH_049_01"]
    assert [(one.file, one.reason) for one in source.rejected()] == [
        ("CTICH_049_03", "no_file"),
        ("CTICH_050_01", "no_file"),
        ("ct_scans/049.nii#2", "no_label"),
    ]


def test_a_byte_order_mark_masks_and_other_files_do_not_matter(tmp_path):
    source = folder_with(tmp_path)
    write_table(tmp_path, [NORMAL_1], header="\ufeff" + CTICH_HEADER)
    write_volume(tmp_path / "masks" / "049.nii")
    write_volume(tmp_path / "ct_scans" / "notes.nii")
    (tmp_path / "Patient_demographics.csv").touch()
    assert [file.sop_uid for file in source.files()] == ["CTICH_049_01"]


def test_a_volume_is_read_once_for_all_its_slices_and_again_when_it_changed(tmp_path, monkeypatch):
    source, calls = folder_with(tmp_path), []
    monkeypatch.setattr(
        ctich_nifti, "parse_volume", lambda data, name: calls.append(name) or parse_volume(data, name)
    )
    slices(source)
    assert len(calls) == 1
    path = write_volume(tmp_path / "ct_scans" / "049.nii", volume() + 7)
    os.utime(path, ns=(10**18, 10**18))
    assert slices(CtIchSource(str(tmp_path)))[0].hu[0, 0] == -981
    assert len(calls) == 2


def damage(path, what):
    data = path.read_bytes()
    if what == "truncated":
        path.write_bytes(data[:-1])
    elif what == "not_nifti":
        path.write_bytes(b"no NIfTI" * 100)
    elif what == "empty":
        path.write_bytes(b"")
    elif what == "cut packed":
        path.write_bytes(gzip.compress(data)[:-12])
    elif what == "broken packed":
        path.write_bytes(gzip.compress(data)[:-8] + b"checksum")
    elif what == "not packed":
        path.write_bytes(b"\x1f\x8b" + b"no gzip" * 100)


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("truncated", "truncated"),
        ("not_nifti", "not_nifti"),
        ("empty", "not_nifti"),
        ("cut packed", "truncated"),
        ("broken packed", "not_nifti"),
        ("not packed", "not_nifti"),
    ],
)
def test_each_slice_of_a_damaged_volume_is_refused_with_the_reason(tmp_path, what, reason):
    source = folder_with(tmp_path)
    damage(tmp_path / "ct_scans" / "049.nii", what)
    files = source.files()
    assert [file.path for file in files] == ["ct_scans/049.nii#1", "ct_scans/049.nii#2"]
    for file in files:
        with pytest.raises(SliceError, match=r"ct_scans/049\.nii ") as caught:
            source.read(file)
        assert caught.value.reason == reason
        assert "\n" not in str(caught.value)


def test_a_volume_that_is_not_axial_or_does_not_say_how_it_lies_is_refused(tmp_path):
    sagittal = AFFINE[:, [1, 2, 0, 3]]
    assert refused(write_volume(tmp_path / "a.nii", affine=sagittal), "third axis").reason == "no_geometry"
    path = write_volume(tmp_path / "b.nii")
    data = bytearray(path.read_bytes())
    data[280:328] = np.full(12, np.nan, "<f4").tobytes()  # srow_x, srow_y, srow_z
    path.write_bytes(data)
    assert refused(path, "does not say how it lies").reason == "no_geometry"


def test_a_mask_or_a_windowed_image_is_not_taken_for_hounsfield_units(tmp_path):
    mask = (volume() > -950).astype(np.uint8) * 255
    error = refused(write_volume(tmp_path / "a.nii", mask), r"no value below -500 \(the lowest is 0\)")
    assert error.reason == "not_hounsfield"


def test_several_volumes_or_colours_in_a_file_are_refused(tmp_path):
    path = write_volume(tmp_path / "a.nii", np.stack([volume()] * 2, axis=-1))
    assert refused(path, r"shape \(3, 2, 2, 2\)").reason == "unsupported_pixels"
    assert refused(write_volume(tmp_path / "b.nii", volume()[..., 0]), r"shape \(3, 2\)").reason
    colours = np.zeros((3, 2, 2), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    assert (
        refused(write_volume(tmp_path / "c.nii", colours), "expected numbers").reason == "unsupported_pixels"
    )
    one = write_volume(tmp_path / "d.nii", volume()[..., None])
    assert parse_volume(one.read_bytes(), "d.nii").stored.shape == (3, 2, 2)


def test_a_volume_that_shrank_since_it_was_listed_is_refused(tmp_path):
    source = folder_with(tmp_path)
    last = source.files()[1]
    write_volume(tmp_path / "ct_scans" / "049.nii", volume(1))
    with pytest.raises(SliceError, match="has 1 slices, expected 2"):
        source.read(last)


def test_volumes_without_their_table_are_refused_with_the_layout(tmp_path):
    write_volume(tmp_path / "ct_scans" / "049.nii")
    with pytest.raises(
        DataError, match=r"hemorrhage_diagnosis_raw_ct\.csv does not exist, expected .*NNN\.nii"
    ):
        CtIchSource(str(tmp_path)).files()


def test_the_jpeg_layout_needs_no_nibabel(tmp_path):
    write_ctich(tmp_path, [NORMAL_1])
    script = (
        "import sys; from ich_mlflow.sources.ctich import CtIchSource; source = CtIchSource(sys.argv[1]); "
        "source.read(source.files()[0]); assert 'nibabel' not in sys.modules"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, cwd=root)


def test_volumes_become_a_stored_set_and_a_damaged_one_is_on_the_list(workspace, tmp_path):
    rows = [f"{patient},{k},0,0,0,0,0,1,0" for patient in (49, 50, 51, 52) for k in (1, 2)]
    write_table(tmp_path / "ctich", rows)
    for patient in (49, 50, 51, 52):
        write_volume(tmp_path / "ctich" / "ct_scans" / f"{patient:03d}.nii")
    damage(tmp_path / "ctich" / "ct_scans" / "052.nii", "truncated")
    stored = preprocess(
        PreprocessOptions(
            source="ctich",
            data=str(tmp_path / "ctich"),
            out=str(tmp_path / "set"),
            quarantine_limit=0.5,
            workers=1,
        )
    )
    assert stored.table["sop_uid"].tolist() == [
        f"CTICH_{n:03d}_{k:02d}" for n in (49, 50, 51) for k in (1, 2)
    ]
    assert stored.manifest["quarantine"] == {"truncated": 2}
    assert stored.table["position_fraction"].tolist() == [0, 1] * 3


def test_a_mask_of_a_volume_is_turned_as_its_volume_and_named_by_the_labels(tmp_path):
    source = folder_with(tmp_path)
    mask = np.zeros((3, 2, 2), np.uint8)
    mask[2, 1, 1] = 255  # furthest right and in front of slice 2: its upper left corner
    write_volume(tmp_path / "masks" / "049.nii", mask, np.eye(4))
    first, second = slices(CtIchSource(source.root))
    assert first.blood.tolist() == [[0, 0, 0], [0, 0, 0]]
    assert second.blood.tolist() == [[1, 0, 0], [0, 0, 0]]
    assert second.hu[0, 0] == -888  # i = 2, j = 1, k = 1 of the volume


def test_without_masks_nothing_is_known_and_a_volume_without_one_only_of_slices_without_a_bleed(tmp_path):
    source = folder_with(tmp_path)
    assert [one.blood for one in slices(source)] == [None, None]
    write_volume(tmp_path / "masks" / "050.nii", np.zeros((3, 2, 2), np.uint8))
    first, second = slices(CtIchSource(source.root))
    assert not first.blood.any()
    assert second.blood is None


def test_a_mask_of_another_shape_than_its_volume_is_refused(tmp_path):
    source = folder_with(tmp_path)
    write_volume(tmp_path / "masks" / "049.nii", np.zeros((3, 3, 2), np.uint8))
    with pytest.raises(SliceError, match=r"masks/049\.nii has the shape \(3, 3, 2\)"):
        slices(CtIchSource(source.root))


def with_forms(path, sform, qform):
    image = nibabel.Nifti1Image(volume(), None)
    image.header.set_sform(sform, code=1)
    image.header.set_qform(qform, code=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)
    # nibabel writes both anew from an image's affine
    data = bytearray(path.read_bytes())
    data[: len(image.header.binaryblock)] = image.header.binaryblock
    written = nibabel.Nifti1Header(bytes(data[:348]), check=False)
    written["vox_offset"], written["magic"] = 352, b"n+1"
    data[:348] = written.binaryblock
    path.write_bytes(data)
    return path


def turned(degrees):
    """The affine, turned around the body's axis."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.eye(4)
    turn[:2, :2] = [[c, -s], [s, c]]
    return turn @ AFFINE


@pytest.mark.parametrize(
    ("qform", "said"),
    [
        (turned(10), "turned"),
        (np.diag([-1, 1, 1, 1]) @ AFFINE, "mirrored"),
        (np.diag([-1, -1, 1, 1]) @ AFFINE, "turned"),
    ],
)
def test_an_sform_and_a_qform_that_turn_or_mirror_each_other_are_refused(tmp_path, qform, said):
    path = with_forms(tmp_path / "a.nii", AFFINE, qform)
    error = refused(path, f"sform and a qform that disagree: one is {said}")
    assert error.reason == "no_geometry"


def test_an_sform_that_lies_elsewhere_than_the_qform_holds_and_is_counted(tmp_path):
    source = folder_with(tmp_path)
    assert "volumes_placed_twice" not in source.audit()
    moved = AFFINE.copy()
    moved[2, 3] += 7
    with_forms(tmp_path / "ct_scans" / "049.nii", AFFINE, moved)
    source = CtIchSource(str(tmp_path))
    assert [one.position_mm for one in slices(source)] == [30, 35]
    assert source.audit()["volumes_placed_twice"] == 1


@pytest.mark.parametrize("qform", [AFFINE, turned(0.5)])
def test_forms_that_differ_by_rounding_are_alike(tmp_path, qform):
    path = with_forms(tmp_path / "a.nii", AFFINE, qform)
    np.testing.assert_allclose(parse_volume(path.read_bytes(), "a").affine, AFFINE, atol=1e-5)
    assert not forms_differ(path.read_bytes(), "a")

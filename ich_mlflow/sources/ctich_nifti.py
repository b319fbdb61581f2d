"""CT-ICH as PhysioNet's version 1.3.1 lays it out: a NIfTI volume a patient, of which each slice has labels.

ct_scans/NNN.nii (or .nii.gz)   SliceNumber k of the table is the k-th slice along the third axis, as stored
masks/NNN.nii (or .nii.gz)      above 0 where blood is of whatever subtype, voxel by voxel; a folder may have none
"""

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from pathlib import PurePosixPath

import numpy as np

from ich_mlflow.dicom.slice import Slice
from ich_mlflow.errors import SliceError
from ich_mlflow.sources.base import LabelledFile
from ich_mlflow.sources.ctich_table import labelled_blood, sop_uid
from ich_mlflow.sources.folder import Entry, Folder
from ich_mlflow.sources.nifti import START_BYTES, Volume, forms_differ, num_slices, parse_volume

CSV = "hemorrhage_diagnosis_raw_ct.csv"
IMAGES = "ct_scans"
_MASKS = "masks"
LAYOUT = f"{CSV} and {IMAGES}/NNN.nii"


def slice_entries(folder: Folder, labelled: Iterable[str]) -> dict[str, Entry]:
    """Every slice of the volumes, by sop_uid; its path is ct_scans/NNN.nii#<slice number>.

    A volume whose header can't be read has the slices that have labels (sop_uids), so that each is listed with the
    reason when it is read.
    """
    labelled = set(labelled)
    volumes = [*folder.files(IMAGES, ".nii.gz"), *folder.files(IMAGES, ".nii")]
    entries: dict[str, Entry] = {}
    for volume in volumes:  # of a volume that is there both packed and not, the last: not packed
        stem = _patient(volume.path)
        if not stem.isdecimal():
            continue
        numbers = _numbers(folder, volume, int(stem), labelled)
        for number in numbers:
            entry = Entry(f"{volume.path}#{number}", volume.num_bytes // len(numbers), volume.modified_ns)
            entries[sop_uid(int(stem), number)] = entry
    return entries


def num_placed_twice(folder: Folder, listed: Iterable[LabelledFile]) -> int:
    """How many volumes of the listed slices have an sform and a qform in other places, or of other sizes."""
    found = 0
    for path in sorted({file.path.rpartition("#")[0] for file in listed}):
        try:
            found += forms_differ(folder.read(path, num_bytes=START_BYTES), folder.name(path))
        except SliceError:  # reading its slices says what is wrong with it
            continue
    return found


def read_slice(folder: Folder, file: LabelledFile) -> Slice:
    """Read one slice. Raises SliceError, naming the file, where its volume can't be used."""
    path, _, number = file.path.rpartition("#")
    volume = _volume(folder, path, file.modified_ns)
    if isinstance(volume, SliceError):
        raise SliceError(str(volume), reason=volume.reason, tag=volume.tag)
    k = int(number) - 1
    if k >= volume.stored.shape[2]:
        raise SliceError(
            f"{folder.name(path)} has {volume.stored.shape[2]} slices, expected {number}: it changed since it was "
            "listed, run it again",
            reason="truncated",
        )
    patient = f"{int(_patient(path)):03d}"
    return Slice(
        blood=_blood(folder, file, volume, k),
        hu=volume.hu(k),
        sop_uid=file.sop_uid,
        patient_id=patient,
        study_uid=f"CTICH_{patient}_study",
        series_uid=f"CTICH_{patient}_series",
        position_mm=volume.position_mm(k),
        pixel_spacing_mm=volume.pixel_spacing_mm,
    )


def mask_paths(folder: Folder) -> dict[str, str]:
    """The masks that are there, by mask_path: packed or not, a volume's mask is its patient's."""
    if not folder.exists(_MASKS):
        return {}
    files = [*folder.files(_MASKS, ".nii.gz"), *folder.files(_MASKS, ".nii")]
    return {mask_path(file.path): file.path for file in files}


def mask_path(path: str) -> str:
    """The name by which the mask of the volume of a slice is known, as masks/049."""
    return f"{_MASKS}/{_patient(path)}"


def _blood(folder: Folder, file: LabelledFile, volume: Volume, k: int) -> np.ndarray | None:
    """Where the blood is on slice k (from 0). Raises SliceError where the mask can't be used."""
    if not file.blood:
        return None if file.blood is None else np.zeros(volume.hu(k).shape, np.uint8)
    mask = _mask(folder, file.blood, file.modified_ns)
    if isinstance(mask, SliceError):
        raise SliceError(str(mask), reason=mask.reason, tag=mask.tag)
    if mask.stored.shape != volume.stored.shape:
        raise SliceError(
            f"{folder.name(file.blood)} has the shape {mask.stored.shape} and its volume {volume.stored.shape}, "
            "expected the same: copy both again",
            reason="unequal_images",
        )
    # Voxel by voxel: it lies as its volume does, whatever its own header says.
    plane = replace(volume, stored=mask.stored != 0, slope=1.0, intercept=0.0).hu(k)
    return labelled_blood(plane > 0, file.subtypes)


def _patient(path: str) -> str:
    return PurePosixPath(path).name.split(".")[0]


def _numbers(folder: Folder, volume: Entry, patient: int, labelled: set[str]) -> list[int]:
    try:
        start = folder.read(volume.path, num_bytes=START_BYTES)
        return list(range(1, num_slices(start, folder.name(volume.path)) + 1))
    except SliceError:
        prefix = sop_uid(patient, 0)[:-2]
        return sorted(int(uid.removeprefix(prefix)) for uid in labelled if uid.startswith(prefix))


@lru_cache(maxsize=1)
def _volume(folder: Folder, path: str, modified_ns: int) -> Volume | SliceError:
    """The volume, or what is wrong with it: the last one is kept, since its slices are read one after the other.

    A file that can't be opened is no fault of the volume's, so that is raised and asked for anew.
    """
    data = folder.read(path)
    try:
        return parse_volume(data, folder.name(path))
    except SliceError as error:
        return error


@lru_cache(maxsize=1)
def _mask(folder: Folder, path: str, modified_ns: int) -> Volume | SliceError:
    """As _volume, of the mask of a volume that was changed last at that time."""
    data = folder.read(path)
    try:
        return parse_volume(data, folder.name(path), is_ct=False)
    except SliceError as error:
        return error

"""CT-ICH (Hssayeni et al., Data 2020, 5(1), 14), as PhysioNet lays it out: JPEG to 1.3.0, NIfTI from 1.3.1."""

from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import ClassVar

import cv2
import numpy as np

from ich_mlflow.ct.hounsfield import from_windows
from ich_mlflow.ct.window import Window
from ich_mlflow.dicom.slice import Slice
from ich_mlflow.errors import SliceError
from ich_mlflow.sources.base import LabelledFile
from ich_mlflow.sources.ctich_table import labelled_blood, read_labels, sop_uid, with_masks
from ich_mlflow.sources.folder import Entry, Folder
from ich_mlflow.sources.listing import ListedSource, Listing, match, require

CSV = "hemorrhage_diagnosis.csv"
IMAGES = "Patients_CT"
BRAIN_JPEG = Window(40, 120)
BONE_JPEG = Window(700, 3200)
SLICE_SPACING_MM = 5.0

#: The mask of a slice's blood stands beside it: S_HGE_Seg.jpg, white where blood is of whatever subtype.
_MASK_SUFFIX = "_HGE_Seg"
#: Of a grey level: JPEG blurs an edge.
_WHITE = 128
_LAYOUT = f"{CSV} and {IMAGES}/NNN/{{brain,bone}}/S.jpg"
#: The folder of the other layout, sources.ctich_nifti, which is imported where it is met: nibabel takes its time.
_NIFTI_IMAGES = "ct_scans"


@dataclass(frozen=True)
class CtIchSource(ListedSource):
    """The labelled slices below `root`, in the layout that stands there; with both, the volumes in ct_scans/.

    Of JPEG, Hounsfield units are rebuilt from the two windows of each slice. Outside the head both are black, which
    the formula makes -900 HU (the bone window's lower end), and not -1000: every window in use shows both as black.
    Pixel spacing isn't recorded; slices are 5 mm apart. Volumes hold Hounsfield units and their geometry.
    Where blood is is known where the folder has masks of it, the original's S_HGE_Seg.jpg or masks/NNN.nii.
    """

    name: ClassVar[str] = "ctich"
    overlap: ClassVar[str] = "independent of RSNA 2019 (Al Hilla Teaching Hospital, Iraq)"

    def read(self, file: LabelledFile) -> Slice:
        """Read one slice from its volume or its two JPEGs. Raises SliceError, naming the file that can't be used."""
        if file.path.startswith(_NIFTI_IMAGES):
            from ich_mlflow.sources.ctich_nifti import read_slice

            return read_slice(self.folder, file)
        patient, number = _place(file.path)
        bone_path = _bone_path(file.path)
        brain = _read_grey(self.folder, file.path)
        bone = _read_grey(self.folder, bone_path)
        if brain.shape != bone.shape:
            raise SliceError(
                f"{self.folder.name(file.path)} is {brain.shape} and its bone image {bone.shape}, expected the "
                "same size: copy both again",
                reason="unequal_images",
            )
        ct_slice = Slice(
            hu=from_windows(narrow=brain, narrow_window=BRAIN_JPEG, wide=bone, wide_window=BONE_JPEG),
            sop_uid=file.sop_uid,
            patient_id=patient,
            study_uid=f"CTICH_{patient}_study",
            series_uid=f"CTICH_{patient}_series",
            position_mm=SLICE_SPACING_MM * int(number),
            pixel_spacing_mm=None,
        )
        return replace(ct_slice, blood=self._blood(file, brain.shape))

    def _blood(self, file: LabelledFile, shape: tuple[int, ...]) -> np.ndarray | None:
        if not file.blood:
            return None if file.blood is None else np.zeros(shape, np.uint8)
        return labelled_blood(_read_grey(self.folder, file.blood) >= _WHITE, file.subtypes)

    def _list(self, folder: Folder) -> Listing:
        if folder.exists(_NIFTI_IMAGES):
            return self._list_volumes(folder)
        either = f"{_LAYOUT}, or {_NIFTI_IMAGES}/NNN.nii with its table"
        require(folder, "", expected=f"a folder with {either}")
        require(folder, CSV, expected=either)
        require(folder, IMAGES, expected=either)
        labels = read_labels(folder, CSV)
        images = {image.path: image for image in folder.files(IMAGES, ".jpg", recursive=True)}
        entries = {}
        for path, brain in images.items():
            patient, number = _place(path)
            if PurePosixPath(path).parent.name == "brain" and number.isdecimal() and patient.isdecimal():
                bone = images.get(_bone_path(path), Entry("", 0, 0))
                newest = max(brain.modified_ns, bone.modified_ns)
                both = Entry(path, brain.num_bytes + bone.num_bytes, newest)
                entries[sop_uid(int(patient), int(number))] = both
        masks = {path: path for path in images if path.endswith(f"{_MASK_SUFFIX}.jpg")}
        return with_masks(match(labels, entries, table=CSV, folder=folder), masks, _mask_path)

    def _list_volumes(self, folder: Folder) -> Listing:
        from ich_mlflow.sources import ctich_nifti

        require(folder, ctich_nifti.CSV, expected=ctich_nifti.LAYOUT)
        labels = read_labels(folder, ctich_nifti.CSV)
        entries = ctich_nifti.slice_entries(folder, (*labels.subtypes, *labels.rejected))
        listing = match(labels, entries, table=ctich_nifti.CSV, folder=folder)
        placed_twice = ctich_nifti.num_placed_twice(folder, listing.files)
        if placed_twice:
            listing = replace(listing, counts={**listing.counts, "volumes_placed_twice": placed_twice})
        return with_masks(listing, ctich_nifti.mask_paths(folder), ctich_nifti.mask_path)


def _place(path: str) -> tuple[str, str]:
    """(patient folder, slice number) of Patients_CT/NNN/brain/S.jpg."""
    parts = PurePosixPath(path)
    return parts.parts[-3], parts.stem


def _bone_path(path: str) -> str:
    brain = PurePosixPath(path)
    return str(brain.parent.parent / "bone" / brain.name)


def _mask_path(path: str) -> str:
    brain = PurePosixPath(path)
    return str(brain.with_name(f"{brain.stem}{_MASK_SUFFIX}.jpg"))


def _read_grey(folder: Folder, path: str) -> np.ndarray:
    data = np.frombuffer(folder.read(path), np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE) if len(data) else None
    if image is None:
        raise SliceError(
            f"{folder.name(path)} is no JPEG image, expected the slice in both brain/ and bone/: copy it again",
            reason="not_jpeg",
        )
    return image

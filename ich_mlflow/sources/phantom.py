"""The phantom cohort as a source: RSNA's layout, read by RSNA's reader, and the masks of its blood."""

from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import ClassVar

import numpy as np

from ich_mlflow.dicom.slice import Slice
from ich_mlflow.errors import DataError, SliceError
from ich_mlflow.phantom.lesions import LESIONS_FOLDER, parse_lesions
from ich_mlflow.sources.base import LabelledFile
from ich_mlflow.sources.folder import Folder
from ich_mlflow.sources.listing import Listing
from ich_mlflow.sources.rsna import RsnaSource


@dataclass(frozen=True)
class PhantomSource(RsnaSource):
    """A folder that phantom.cohort.write_cohort made. One of before there were masks knows nothing of its blood."""

    name: ClassVar[str] = "phantom"
    overlap: ClassVar[str] = "made by this project, no patient"

    def read(self, file: LabelledFile) -> Slice:
        """Read one slice, and where its blood is. Raises SliceError where one of the two can't be used."""
        ct_slice = super().read(file)
        if file.blood is None:
            return ct_slice
        if not file.blood:
            return replace(ct_slice, blood=np.zeros(ct_slice.hu.shape, np.uint8))
        try:
            blood = parse_lesions(self.folder.read(file.blood), self.folder.name(file.blood))
        except DataError as error:
            raise SliceError(str(error), reason="not_mask") from None
        return replace(ct_slice, blood=blood)

    def _list(self, folder: Folder) -> Listing:
        listing = super()._list(folder)
        if not folder.exists(LESIONS_FOLDER):
            return listing
        # A slice without blood has no file.
        masks = {PurePosixPath(mask.path).stem: mask.path for mask in folder.files(LESIONS_FOLDER, ".png")}
        files = tuple(replace(file, blood=masks.get(file.sop_uid, "")) for file in listing.files)
        return replace(listing, files=files)

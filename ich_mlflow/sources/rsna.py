"""RSNA 2019 Brain CT Hemorrhage, as Kaggle hands it out."""

import io
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from ich_mlflow.dicom.slice import Slice, parse_slice
from ich_mlflow.errors import DataError, SliceError
from ich_mlflow.labels import ANY, SUBTYPES
from ich_mlflow.sources.base import LabelledFile, LabelLevel
from ich_mlflow.sources.folder import Folder
from ich_mlflow.sources.listing import Labels, ListedSource, Listing, contradictions, match, require

#: Damage that a file's header does not show. Source: the pixels of RSNA 2019's training files.
KNOWN_DAMAGE = {"ID_b79eed528": "noise below row 332"}

_LABELS = (*SUBTYPES, ANY)
_ID = rf"^ID_[0-9a-f]{{9}}_({'|'.join(_LABELS)})$"
_UID_LENGTH = len("ID_") + 9


@dataclass(frozen=True)
class RsnaSource(ListedSource):
    """The labelled training slices below `root` (stage_2_train.csv, stage_2_train/*.dcm)."""

    name: ClassVar[str] = "rsna"
    table: ClassVar[str] = "stage_2_train.csv"
    images: ClassVar[str] = "stage_2_train"
    overlap: ClassVar[str] = "is RSNA 2019"

    def read(self, file: LabelledFile) -> Slice:
        """Read one slice. Raises SliceError where it can't be used, or is not the slice its name says."""
        name = self.folder.name(file.path)
        if file.sop_uid in KNOWN_DAMAGE:
            raise SliceError(
                f"{name} is known to be damaged ({KNOWN_DAMAGE[file.sop_uid]}): leave it out",
                reason="known_damage",
                tag="PixelData",
            )
        ct_slice = parse_slice(self.folder.read(file.path), name)
        if ct_slice.sop_uid != file.sop_uid:
            raise SliceError(
                f"{name} holds another slice than its name says (SOPInstanceUID differs), so its labels "
                "would be wrong: copy it again",
                reason="another_slice",
                tag="SOPInstanceUID",
            )
        return ct_slice

    def _list(self, folder: Folder) -> Listing:
        layout = f"{self.table} (ID,Label) and {self.images}/ID_<9 hex>.dcm"
        require(folder, "", expected=f"a folder with {layout}")
        require(folder, self.table, expected=layout)
        require(folder, self.images, expected=layout)
        labels = _read_labels(folder, self.table, labelled=self.label_level == "slice")
        start = len(self.images) + 1
        entries = {entry.path[start : -len(".dcm")]: entry for entry in folder.files(self.images, ".dcm")}
        return match(labels, entries, table=self.table, folder=folder)


@dataclass(frozen=True)
class RsnaTestSource(RsnaSource):
    """The stage 2 test set, whose labels were never published: every label is 0, and means nothing.

    The table is the sample submission; what stands in its Label column is not looked at.
    """

    name: ClassVar[str] = "rsna-test"
    table: ClassVar[str] = "stage_2_sample_submission.csv"
    images: ClassVar[str] = "stage_2_test"
    label_level: ClassVar[LabelLevel] = "none"
    overlap: ClassVar[str] = "is the stage 2 test set of RSNA 2019 itself, without labels"


def _read_labels(folder: Folder, path: str, *, labelled: bool) -> Labels:
    """The table's labels. 4.5 million rows take seconds: whole columns at a time."""
    uids, columns, labels = _parse_rows(folder.name(path), folder.read(path), labelled=labelled)
    order = uids.dictionary.to_pylist()
    cells = uids.indices.to_numpy(zero_copy_only=False).astype(np.int64) * len(_LABELS) + columns
    rows = np.bincount(cells, minlength=len(order) * len(_LABELS)).reshape(-1, len(_LABELS))
    ones = np.bincount(cells, weights=labels, minlength=rows.size).reshape(rows.shape)
    positive = ones > 0
    both = ((ones > 0) & (ones < rows)).any(axis=1)
    missing = (rows == 0).any(axis=1)
    unequal = np.not_equal(positive[:, -1], positive[:, :-1].any(axis=1))
    rejected = {
        **contradictions(order, unequal, "any_contradicts", "`any` is not the OR of the subtypes"),
        **contradictions(order, missing, "missing_rows", f"not all of {', '.join(_LABELS)} have a row"),
        **contradictions(order, both, "contradicting_rows", "the same label stands as both 0 and 1"),
    }
    good = ~(both | missing | unequal)
    subtypes = map(tuple, positive[:, :-1].astype(int).tolist())
    return Labels(
        subtypes={uid: label for uid, label, usable in zip(order, subtypes, good, strict=True) if usable},
        rejected=rejected,
        counts={"rows": len(columns), "repeated_rows": int((rows - 1).clip(min=0).sum())},
    )


def _parse_rows(
    path: str, data: bytes, *, labelled: bool
) -> tuple[pa.DictionaryArray, np.ndarray, np.ndarray]:
    """The slice (dictionary-encoded), label column and label (0 or 1) of each row of the table.

    Where the rows are not labelled, every label is 0.
    """
    text = pa_csv.ConvertOptions(column_types={"ID": pa.string(), "Label": pa.string()})
    try:
        table = pa_csv.read_csv(io.BytesIO(data), convert_options=text)
    except pa.ArrowInvalid as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path} can't be read as a table ({reason}), expected ID,Label: {_COPY}") from None
    if table.column_names.count("ID") != 1 or table.column_names.count("Label") != 1:
        raise DataError(f"{path} has the columns {', '.join(table.column_names)}, expected ID,Label: {_COPY}")
    ids, labels = table["ID"].combine_chunks(), table["Label"].combine_chunks()
    good = pc.match_substring_regex(ids, _ID)
    if labelled:
        good = pc.and_(good, pc.is_in(labels, pa.array(["0", "1"])))
    bad = np.flatnonzero(~good.fill_null(False).to_numpy(zero_copy_only=False))
    if len(bad):
        raise DataError(
            f"{path} has {len(bad)} rows that can't be read, the first on line {bad[0] + 2}, "
            f"expected ID_<9 hex>_<subtype>,<{'0 or 1' if labelled else 'number'}>: {_COPY}"
        )
    if not len(ids):
        raise DataError(f"{path} has no rows, expected six a slice: {_COPY}")
    uids = pc.utf8_slice_codeunits(ids, 0, _UID_LENGTH).dictionary_encode()
    names = pc.utf8_slice_codeunits(ids, _UID_LENGTH + 1)
    columns = pc.index_in(names, pa.array(_LABELS)).to_numpy(zero_copy_only=False)
    ones = pc.equal(labels, "1").to_numpy(zero_copy_only=False) if labelled else np.zeros(len(ids), bool)
    return uids, columns, ones


_COPY = "copy the table again"

"""RSNA 2019 Brain CT Hemorrhage, as Kaggle hands it out."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from ich_mlflow.dicom.slice import Slice, read_slice
from ich_mlflow.errors import DataError, SliceError
from ich_mlflow.labels import ANY, SUBTYPES
from ich_mlflow.sources.base import LabelledFile
from ich_mlflow.sources.listing import ListedSource, Listing, Subtypes, keep_both, require

CSV = "stage_2_train.csv"
IMAGES = "stage_2_train"
_LAYOUT = f"{CSV} (ID,Label) and {IMAGES}/ID_<9 hex>.dcm"
_LABELS = (*SUBTYPES, ANY)
_ID = rf"^ID_[0-9a-f]{{9}}_({'|'.join(_LABELS)})$"
_UID_LENGTH = len("ID_") + 9


@dataclass(frozen=True)
class RsnaSource(ListedSource):
    """The labelled training slices below `root` (stage_2_train.csv, stage_2_train/*.dcm)."""

    @property
    def name(self) -> str:
        """The name that selects this source: rsna."""
        return "rsna"

    def read(self, file: LabelledFile) -> Slice:
        """Read one slice. Raises SliceError where it can't be used, or is not the slice its name says."""
        ct_slice = read_slice(file.path)
        if ct_slice.sop_uid != file.sop_uid:
            raise SliceError(
                f"{file.path} holds another slice than its name says (SOPInstanceUID differs), so its labels "
                "would be wrong: copy it again"
            )
        return ct_slice

    def _list(self, root: Path) -> Listing:
        require(root, expected=f"a folder with {_LAYOUT}")
        require(root / CSV, expected=_LAYOUT)
        require(root / IMAGES, expected=_LAYOUT)
        labels, counts = _read_labels(root / CSV)
        images = root / IMAGES
        with os.scandir(images) as entries:
            paths = {e.name[:-4]: images / e.name for e in entries if e.name.endswith(".dcm")}
        return keep_both(labels, paths, counts, root=root)


def _read_labels(path: Path) -> tuple[dict[str, Subtypes], dict[str, int]]:
    """Subtypes by sop_uid, and counts of rows. 4.5 million rows take seconds: whole columns at a time."""
    uids, columns, labels = _parse_rows(path)
    order = uids.dictionary.to_pylist()
    cells = uids.indices.to_numpy(zero_copy_only=False).astype(np.int64) * len(_LABELS) + columns
    rows = np.bincount(cells, minlength=len(order) * len(_LABELS)).reshape(-1, len(_LABELS))
    ones = np.bincount(cells, weights=labels, minlength=rows.size).reshape(rows.shape)
    _refuse(path, order, (ones > 0) & (ones < rows), "labelled both 0 and 1", "remove the wrong rows")
    _refuse(path, order, rows == 0, f"without all six rows ({', '.join(_LABELS)})", "restore the rows")
    positive = ones > 0
    contradiction = positive[:, -1:] != positive[:, :-1].any(axis=1, keepdims=True)
    _refuse(path, order, contradiction, "whose `any` is not the OR of its subtypes", "correct the labels")
    subtypes = map(tuple, positive[:, :-1].astype(int).tolist())
    counts = {"rows": len(columns), "repeated_rows": int((rows - 1).sum())}
    return dict(zip(order, subtypes, strict=True)), counts


def _parse_rows(path: Path) -> tuple[pa.DictionaryArray, np.ndarray, np.ndarray]:
    """The slice (dictionary-encoded), label column and label (0 or 1) of each row of the table."""
    text = pa_csv.ConvertOptions(column_types={"ID": pa.string(), "Label": pa.string()})
    try:
        table = pa_csv.read_csv(path, convert_options=text)
    except (pa.ArrowInvalid, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path} can't be read as a table ({reason}), expected ID,Label: {_COPY}") from None
    if not {"ID", "Label"} <= set(table.column_names):
        raise DataError(f"{path} has the columns {', '.join(table.column_names)}, expected ID,Label: {_COPY}")
    ids, labels = table["ID"].combine_chunks(), table["Label"].combine_chunks()
    good = pc.and_(pc.match_substring_regex(ids, _ID), pc.is_in(labels, pa.array(["0", "1"])))
    bad = np.flatnonzero(~good.fill_null(False).to_numpy(zero_copy_only=False))
    if len(bad):
        raise DataError(
            f"{path} has {len(bad)} rows that can't be read, the first on line {bad[0] + 2}, "
            f"expected ID_<9 hex>_<subtype>,<0 or 1>: {_COPY}"
        )
    if not len(ids):
        raise DataError(f"{path} has no rows, expected six a slice: {_COPY}")
    uids = pc.utf8_slice_codeunits(ids, 0, _UID_LENGTH).dictionary_encode()
    names = pc.utf8_slice_codeunits(ids, _UID_LENGTH + 1)
    columns = pc.index_in(names, pa.array(_LABELS)).to_numpy(zero_copy_only=False)
    return uids, columns, pc.equal(labels, "1").to_numpy(zero_copy_only=False)


_COPY = "copy the table again"


def _refuse(path: Path, order: list[str], wrong: np.ndarray, what: str, fix: str) -> None:
    slices = np.flatnonzero(wrong.any(axis=1))
    if len(slices):
        raise DataError(f"{path} has {len(slices)} slices {what}, the first is {order[slices[0]]}: {fix}")

"""A hospital's own data: a table that names DICOM files or studies, and their labels."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from ich_mlflow.dicom.slice import Slice
from ich_mlflow.errors import DataError
from ich_mlflow.parameters import AUTO
from ich_mlflow.sources.base import LabelledFile, LabelLevel
from ich_mlflow.sources.folder import Folder, is_url
from ich_mlflow.sources.listing import ListedSource, Listing, require
from ich_mlflow.sources.studies import read_listed
from ich_mlflow.sources.table_columns import parse_columns
from ich_mlflow.sources.table_rows import LabelTable, read_label_table
from ich_mlflow.sources.table_slices import list_files
from ich_mlflow.sources.table_studies import list_studies

#: The table that is taken of a folder with several.
CSV = "labels.csv"
_SUFFIXES = (".csv", ".tsv")
#: Names of columns that a message tells.
_TOLD = 12
_LAYOUT = f"{CSV} and, anywhere below, DICOM files"


@dataclass(frozen=True)
class TableSource(ListedSource):
    """The slices or the exams of a table.

    root     the table, or the folder with labels.csv or one table of another name
    columns  the table's columns by the project's names, as file=path,epidural=EDH; auto: by their own names

    Where a row is a slice (column file), it has the labels of the file that it names. Where it is an exam (column
    study), one series is taken of the study with that StudyInstanceUID or folder, as sources.cq500 takes it, and every
    slice carries its exam's labels. audit() counts what is passed over, too: copies, and of exams other_files.
    """

    columns: str = AUTO
    name: ClassVar[str] = "table"
    overlap: ClassVar[str] = (
        "a hospital's own exams; whether RSNA 2019 has some of its patients is not known here"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_columns(self.columns)

    @property
    def label_level(self) -> LabelLevel:  # type: ignore[override]  # the table says it, no other source's class
        """Slice or study, as the table's columns say. Raises DataError where the table can't be used."""
        return self._table.level

    @property
    def folder(self) -> Folder:
        """The folder that the table stands in."""
        return Folder(self._place[0])

    def read(self, file: LabelledFile) -> Slice:
        """Read one slice. Raises SliceError where it can't be used, or is not the one that was listed."""
        return read_listed(self.folder, file, patient_id=file.patient_id)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.root, self.columns)

    @cached_property
    def _place(self) -> tuple[str, str]:
        """The folder, and the table's name where root names it."""
        names_table = (
            self.root.lower().endswith(_SUFFIXES) if is_url(self.root) else Path(self.root).is_file()
        )
        if not names_table:
            return self.root, ""
        if is_url(self.root):
            folder, _, name = self.root.rpartition("/")
            return folder, name
        path = Path(self.root)
        return str(path.parent), path.name

    @cached_property
    def _table(self) -> LabelTable:
        folder = self.folder
        name = self._place[1] or _only_table(folder)
        root = folder.root if is_url(folder.root) else os.path.abspath(folder.root)
        return read_label_table(folder.name(name), folder.read(name), parse_columns(self.columns), root=root)

    def _list(self, folder: Folder) -> Listing:
        table = self._table
        if table.unused:
            # such as a split of one's own, which would not be kept to
            print(f"{table.name}: columns that are not used: {', '.join(table.unused[:_TOLD])}{_more(table)}")
        lists = list_files if table.level == "slice" else list_studies
        return lists(folder, table)


def _more(table: LabelTable) -> str:
    return f" and {len(table.unused) - _TOLD} more" if len(table.unused) > _TOLD else ""


def _only_table(folder: Folder) -> str:
    """labels.csv, or the only other table in the folder. Raises DataError where there is none, or several."""
    require(folder, "", expected=f"a folder with {_LAYOUT}")
    if folder.exists(CSV):
        return CSV
    found = sorted(entry.path for entry in folder.files("", "") if entry.path.lower().endswith(_SUFFIXES))
    if len(found) > 1:
        more = ", …" if len(found) > 3 else ""
        raise DataError(
            f"{folder.name()} has {len(found)} tables ({', '.join(found[:3])}{more}), expected one, or {CSV}: pass -P "
            f"data={folder.name(found[0])}"
        )
    if not found:
        require(folder, CSV, expected=_LAYOUT)
    return found[0]

"""A table of exams: DICOM files anywhere below a folder, and of each study of the table one series of them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from ich_mlflow.dicom.image_header import ImageHeader
from ich_mlflow.errors import DataError
from ich_mlflow.sources.base import Quarantined
from ich_mlflow.sources.folder import Entry, Folder
from ich_mlflow.sources.listing import Listing, match
from ich_mlflow.sources.studies import (
    LookedAt,
    choose_slices,
    folder_of,
    list_slices,
    look_through,
    zips_text,
)
from ich_mlflow.sources.table_columns import PATIENT, STUDY
from ich_mlflow.sources.table_rows import LabelRow, LabelTable

#: What scanners and archives put beside a scan: reports, dose sheets, screenshots.
_BESIDE = ("not_ct", "no_geometry")

_Image = tuple[Entry, ImageHeader]


def list_studies(folder: Folder, table: LabelTable) -> Listing:
    """One series of each exam of the table, every slice with its exam's labels and patient.

    Every file below the folder but the table is looked at. Raises DataError where no row has files, or a row and a
    study are not each other's alone.
    """
    entries = sorted(entry for entry in folder.files("", "", recursive=True) if entry.path != table.name)
    found = _Found(table=table, folder=folder)
    for looked in look_through(folder, entries):
        found.take(looked)
    found.check()
    places = {**found.unlabelled, **{study: Entry(found.place(study), 0, 0) for study in found.studies}}
    listed = table.with_lines(match(table.labels(), places, table=table.name, folder=folder))
    of_patients = [replace(one, patient_id=found.rows[one.sop_uid].patient) for one in listed.files]
    listed = replace(listed, files=tuple(of_patients), counts={**listed.counts, **found.counts})
    chosen = (choose_slices(one.sop_uid, one.path, found.images(one.sop_uid)) for one in listed.files)
    return found.with_broken(list_slices(folder, listed, chosen))


@dataclass(kw_only=True)
class _Found:
    """What the files are of.

    studies     the images of each study of the table; of copies of one image the largest, by series and image
    uids        StudyInstanceUIDs of each of them
    unlabelled  of each study without a row, by StudyInstanceUID, the folder it was first met in
    broken      DICOM files that can't be read
    counts      of what is passed over: other_files, copies
    zips        among the other files: nothing in them is looked at
    unplaced    what is wrong with the first CT image without geometry: where all are like it, nothing is found
    """

    table: LabelTable
    folder: Folder
    studies: dict[str, dict[tuple[str, str], _Image]] = field(default_factory=dict)
    uids: dict[str, set[str]] = field(default_factory=dict)
    unlabelled: dict[str, Entry] = field(default_factory=dict)
    broken: list[Quarantined] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=lambda: Counter(other_files=0, copies=0))
    unplaced: str = ""
    zips: list[str] = field(default_factory=list)

    @property
    def rows(self) -> Mapping[str, LabelRow]:
        """The rows of the table by study, those that can't be used too: their files are theirs."""
        return self.table.rows

    def take(self, looked: LookedAt) -> None:
        """Find the row of a file. Raises DataError where it is of two, or nothing says whose it is."""
        entry, header = looked
        if isinstance(header, Quarantined):
            self._take_broken(header)
            return
        study = self._study_of(entry, header)
        if not study:
            self.unlabelled.setdefault(header.study_uid, Entry(folder_of(entry), 0, 0))
            return
        if not (header.patient_id or self.rows[study].patient):
            raise DataError(
                f"{self.folder.name(entry.path)} has no PatientID and {self.table.name} no column {PATIENT}, expected "
                f"one of them, since patients may not cross splits: add the column {PATIENT} to the table"
            )
        self.uids.setdefault(study, set()).add(header.study_uid)
        images = self.studies.setdefault(study, {})
        key = header.series_uid, header.sop_uid
        self.counts["copies"] += key in images
        if key not in images or entry.num_bytes > images[key][0].num_bytes:  # a copy may be cut short
            images[key] = entry, header

    def check(self) -> None:
        """Raise DataError where no row has files, or a row and a StudyInstanceUID are not each other's alone."""
        table = self.table.path
        if not self.studies:
            raise DataError(
                f"{table} has {len(self.rows)} studies and none of them is among the {len(self.unlabelled)} of the "
                f"files, expected in its column {STUDY} the StudyInstanceUID"
                + "".join(f" (as {uid})" for uid in list(self.unlabelled)[:1])
                + " or the name of the study's folder: mend the column, or pass the folder that holds both"
                + (f" ({self.unplaced})" if self.unplaced else "")
                + zips_text(self.zips)
            )
        first: dict[str, str] = {}
        for study, uids in self.uids.items():
            line = self.rows[study].line
            if len(uids) > 1:
                raise DataError(
                    f"{table}, line {line}: the folder {study} holds {len(uids)} studies by StudyInstanceUID, expected "
                    f"one, since labels are of one: write the StudyInstanceUID in the column {STUDY}"
                )
            (uid,) = uids
            if first.setdefault(uid, study) != study:
                raise DataError(
                    f"{table}, line {line}: {study} has the StudyInstanceUID of {first[uid]} (line "
                    f"{self.rows[first[uid]].line}), expected a row a study: remove one of the rows"
                )

    def place(self, study: str) -> str:
        """The study's folder: the one with its name or path, else that of its first image."""
        entry = self.images(study)[0][0]
        parts = PurePosixPath(entry.path).parts[:-1]
        if study in parts:
            return "/".join(parts[: parts.index(study) + 1])
        return study if entry.path.startswith(f"{study}/") else folder_of(entry)

    def images(self, study: str) -> Sequence[_Image]:
        """The images of a study of the table, by path."""
        return sorted(self.studies[study].values(), key=lambda image: image[0])

    def with_broken(self, listing: Listing) -> Listing:
        """The listing, and of the broken files those that stand in a folder whose slices were taken."""
        taken = {str(PurePosixPath(file.path).parent) for file in listing.files}
        broken = [one for one in self.broken if str(PurePosixPath(one.file).parent) in taken]
        rejected = sorted([*listing.rejected, *broken], key=lambda one: (one.file, one.reason))
        return replace(listing, rejected=tuple(rejected))

    def _study_of(self, entry: Entry, header: ImageHeader) -> str:
        """The study in the table that the image is of, by its folders and its StudyInstanceUID; '' for none."""
        parts = PurePosixPath(entry.path).parts[:-1]
        paths = ("/".join(parts[:depth]) for depth in range(1, len(parts) + 1))
        names = dict.fromkeys((*parts, *paths, header.study_uid))
        rows = [name for name in names if name in self.rows]
        if len(rows) > 1:
            said = " and ".join(f"{name} (line {self.rows[name].line})" for name in rows)
            raise DataError(
                f"{self.folder.name(entry.path)} is of two rows of {self.table.name}, {said}, by its folders and "
                "StudyInstanceUID, expected one: remove one of the rows"
            )
        return rows[0] if rows else ""

    def _take_broken(self, file: Quarantined) -> None:
        no_image = file.reason == "not_dicom" and not file.file.lower().endswith(".dcm")
        if no_image or file.reason in _BESIDE:
            self.counts["other_files"] += 1
            if file.file.lower().endswith(".zip"):
                self.zips.append(file.file)
            if file.reason == "no_geometry":
                self.unplaced = self.unplaced or file.detail
        else:
            self.broken.append(file)

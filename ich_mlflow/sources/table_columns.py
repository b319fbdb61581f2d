"""Which column of a hospital's table is which: by what the user says, by their own names, by usual spellings."""

import re
from collections.abc import Mapping, Sequence

from ich_mlflow.errors import DataError, OptionError, nearest
from ich_mlflow.labels import ANY, SUBTYPES
from ich_mlflow.parameters import AUTO

FILE, STUDY, PATIENT = "file", "study", "patient"
LABELS = (*SUBTYPES, ANY)
NAMES = (FILE, STUDY, PATIENT, *LABELS)
EXAMPLE = "file=path,patient=mrn,epidural=EDH"
COLUMNS = f"{FILE} (a row a slice) or {STUDY} (a row an exam), {', '.join(SUBTYPES)}, and if wanted {PATIENT} and {ANY}"
#: Spellings of before anybody said which column is which, without case, blanks, points, and words such as haemorrhage.
_SPELLINGS: dict[str, tuple[str, ...]] = {
    FILE: ("file", "filename", "filepath", "path", "dicom", "dicomfile", "dicompath", "image", "imagepath"),
    STUDY: ("study", "studyuid", "studyinstanceuid", "studyfolder", "exam", "folder"),
    PATIENT: ("patient", "patientid", "mrn", "subject", "subjectid"),
    "epidural": ("epidural", "extradural", "edh"),
    "intraparenchymal": ("intraparenchymal", "intracerebral", "parenchymal", "iph"),
    "intraventricular": ("intraventricular", "ventricular", "ivh"),
    "subarachnoid": ("subarachnoid", "sah"),
    "subdural": ("subdural", "sdh"),
    # ICH is none of them: it is any bleed to some, one in the brain's tissue to others.
    ANY: ("any", "anyich"),
}
_WORDS = re.compile(r"(ha?emorrhages?|ha?ematomas?|bleed(s|ing)?|blood)$")
#: Names of a table's own columns that a message tells.
_TOLD = 12


def parse_columns(text: str) -> dict[str, str]:
    """The table's columns by the project's names, of `file=path,epidural=EDH`; none of `auto`. Raises OptionError."""
    if text == AUTO:
        return {}
    said: dict[str, str] = {}
    for pair in text.split(","):
        name, equals, column = (part.strip() for part in pair.partition("="))
        if name not in NAMES or not column:
            known = nearest(name, NAMES) if equals and name not in NAMES else ""
            _refuse(text, f"name=column of the names {', '.join(NAMES)} and not {pair.strip()!r}{known}")
        if name in said:
            _refuse(text, f"{name} once")
        said[name] = column
    if FILE in said and STUDY in said:
        _refuse(text, f"{FILE} or {STUDY}: a row is either a slice or an exam")
    labels = [column for name, column in said.items() if name in LABELS]
    if len(set(labels)) < len(labels):
        _refuse(text, "a column of its own for each label")
    return said


def find_columns(path: str, header: Sequence[str], said: Mapping[str, str]) -> dict[str, int]:
    """Where each column stands in `header`, by the project's names; either file or study is among them.

    said: as parse_columns has it. A table that has both names a slice a row, unless file was not said and study stands
    there under its own name alone. Raises DataError where a column is missing, or may be one of two.
    """
    found = {name: place for name in NAMES if (place := _place(path, header, name, said)) is not None}
    if FILE in found and STUDY in found:
        own = {column.casefold() for column in header}
        of_studies = STUDY in said or (FILE not in said and STUDY in own and FILE not in own)
        del found[FILE if of_studies else STUDY]
    missing = [name for name in SUBTYPES if name not in found]
    if FILE not in found and STUDY not in found:
        missing.insert(0, f"{FILE} or {STUDY}")
    if missing:
        raise DataError(_missing(path, header, missing, found))
    return found


def _place(path: str, header: Sequence[str], name: str, said: Mapping[str, str]) -> int | None:
    """Where the column of that name stands; None where there is none and nobody said so."""
    if name in said:
        places = _same(header, said[name])
        if not places:
            raise DataError(
                f"{path} has no column {said[name]!r}, which columns= says is {name}, expected one of {_told(header)}"
                f"{nearest(said[name], header)}: pass -P columns={name}=<its column>"
            )
        if len(places) > 1:
            raise DataError(f"{path} has the column {said[name]} twice, expected it once: rename one of them")
        return places[0]
    taken = {place for column in said.values() for place in _same(header, column)}
    free = [place for place in range(len(header)) if place not in taken]
    places = [place for place in free if header[place].casefold() == name]
    places = places or [place for place in free if _plain(header[place]) in _SPELLINGS[name]]
    if len(places) > 1:
        both = " and ".join(header[place] for place in places)
        raise DataError(
            f"{path} has {len(places)} columns that may be {name}, {both}, expected one: pass -P columns={name}="
            f"<the one>"
        )
    return places[0] if places else None


def _same(header: Sequence[str], column: str) -> list[int]:
    """Where a column of that name stands: written just so, or else in another case."""
    exact = [place for place, one in enumerate(header) if one == column]
    return exact or [place for place, one in enumerate(header) if one.casefold() == column.casefold()]


def _plain(column: str) -> str:
    """A column's name as _SPELLINGS has it: `Epidural Haematoma` is epidural."""
    letters = re.sub(r"[\W_]+", "", column.casefold())
    return _WORDS.sub("", letters) or letters


def _missing(path: str, header: Sequence[str], missing: Sequence[str], found: Mapping[str, int]) -> str:
    left = [column for place, column in enumerate(header) if place not in found.values()]
    near = [f"{name}{said}" if (said := nearest(name, left)) else name for name in missing]
    why = ""
    if ANY in found and not set(SUBTYPES) & found.keys():
        why = f" ({ANY} alone is not enough: models name the subtypes)"
    elif any(_plain(column) == "ich" for column in left):
        why = f" (ICH may be {ANY} or intraparenchymal: say which)"
    example = ",".join(f"{name.split()[0]}=<its column>" for name in missing)
    return (
        f"{path} has no column {', '.join(near)} among {_told(header)}, expected {COLUMNS}: add it, or pass -P "
        f"columns={example}{why}"
    )


def _told(header: Sequence[str]) -> str:
    more = f" and {len(header) - _TOLD} more" if len(header) > _TOLD else ""
    return f"{', '.join(repr(column) for column in header[:_TOLD])}{more}"


def _refuse(text: str, expected: str) -> None:
    raise OptionError(f"columns is {text!r}, expected {expected}: pass -P columns={EXAMPLE}")

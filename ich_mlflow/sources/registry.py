"""The sources, a record each. Needs no source's libraries before one is opened."""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ich_mlflow.errors import DataError, OptionError, nearest

if TYPE_CHECKING:
    from ich_mlflow.sources.base import Source


@dataclass(frozen=True)
class SourceRecord:
    """A kind of source.

    home         module and class, as `ich_mlflow.sources.rsna:RsnaSource`, which is made with the folder of its files
    label_level  what its labels are of, as the class says: slice, study or none; either: slice or study, as its
                 table says
    takes_file   it is made with a table's path, too
    caveat       a sentence that every report and model card of its figures begins its limits with; '' for none
    for_training_only  preprocess makes a set of it that is trained on beside others; no other stage takes it
    """

    home: str
    label_level: Literal["slice", "study", "either", "none"]
    caveat: str = ""
    for_training_only: bool = False
    takes_file: bool = False


#: The one source whose files the project makes itself, where no folder is named.
PHANTOM = "phantom"
#: The one whose folder is a stored set, of which it makes another.
DRAWN = "drawn"
#: The one whose labels are the user's own, and whose columns the user may name.
OWN_TABLE = "table"
SOURCES: dict[str, SourceRecord] = {
    "rsna": SourceRecord("ich_mlflow.sources.rsna:RsnaSource", "slice"),
    "ctich": SourceRecord("ich_mlflow.sources.ctich:CtIchSource", "slice"),
    PHANTOM: SourceRecord(
        "ich_mlflow.sources.phantom:PhantomSource",
        "slice",
        caveat="Phantoms were scored: head CT that the project makes itself. Nothing here holds for patients.",
    ),
    "cq500": SourceRecord("ich_mlflow.sources.cq500:Cq500Source", "study"),
    OWN_TABLE: SourceRecord(
        "ich_mlflow.sources.table:TableSource",
        "either",
        takes_file=True,
        caveat="Labels are from a table of the hospital's own: how they were found, and how often they are wrong, is "
        "not known here.",
    ),
    "rsna-test": SourceRecord("ich_mlflow.sources.rsna:RsnaTestSource", "none"),
    DRAWN: SourceRecord("ich_mlflow.dataset.drawn:DrawnSource", "slice", for_training_only=True),
}
#: Names of those with a label a slice, with any label, and with none; the first two without what is only trained on.
TRAINABLE = tuple(
    name
    for name, one in SOURCES.items()
    if one.label_level in ("slice", "either") and not one.for_training_only
)
LABELLED = tuple(
    name for name, one in SOURCES.items() if one.label_level != "none" and not one.for_training_only
)
UNLABELLED = tuple(name for name, one in SOURCES.items() if one.label_level == "none")


def open_source(name: str, root: Path | str, **options: Any) -> "Source":
    """The source of that name below `root`. options: what else its class is made with, as DrawnSource.

    Raises OptionError for an unknown name, DataError where `root` is missing, no folder, or empty.
    """

    from ich_mlflow.sources.folder import is_url

    if name not in SOURCES:
        raise OptionError(
            f"source is {name!r}, expected one of {', '.join(SOURCES)}{nearest(name, SOURCES)}: pass for example "
            "-P source=rsna"
        )
    root = str(root)
    if not is_url(root):
        _check_local(name, Path(root))
    module, kind = SOURCES[name].home.split(":")
    source: Source = getattr(importlib.import_module(module), kind)(root, **options)
    return source


def _check_local(name: str, root: Path) -> None:
    if SOURCES[name].takes_file and root.is_file():
        return
    if not root.is_dir():
        raise DataError(f"{name} folder {root} does not exist: pass the folder that holds the data set")
    if not any(root.iterdir()):
        raise DataError(f"{name} folder {root} is empty: pass the folder that holds the data set")

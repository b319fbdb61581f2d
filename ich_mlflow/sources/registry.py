"""The sources, a record each. Needs no source's libraries before one is opened."""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ich_mlflow.errors import DataError, OptionError, nearest

if TYPE_CHECKING:
    from ich_mlflow.sources.base import Source


@dataclass(frozen=True)
class SourceRecord:
    """A kind of source.

    home         module and class, as `ich_mlflow.sources.rsna:RsnaSource`, which is made with the folder of its files
    label_level  what its labels are of, the same as the class says: slice, study or none
    caveat       a sentence that every report and model card of its figures begins its limits with; '' for none
    """

    home: str
    label_level: Literal["slice", "study", "none"]
    caveat: str = ""


#: The one source whose files the project makes itself, where no folder is named.
PHANTOM = "phantom"
SOURCES: dict[str, SourceRecord] = {
    "rsna": SourceRecord("ich_mlflow.sources.rsna:RsnaSource", "slice"),
    "ctich": SourceRecord("ich_mlflow.sources.ctich:CtIchSource", "slice"),
    PHANTOM: SourceRecord(
        "ich_mlflow.sources.phantom:PhantomSource",
        "slice",
        caveat="Phantoms were scored: head CT that the project makes itself. Nothing here holds for patients.",
    ),
    "cq500": SourceRecord("ich_mlflow.sources.cq500:Cq500Source", "study"),
    "rsna-test": SourceRecord("ich_mlflow.sources.rsna:RsnaTestSource", "none"),
}
#: Names of those with a label a slice, with any label, and with none.
TRAINABLE = tuple(name for name, one in SOURCES.items() if one.label_level == "slice")
LABELLED = tuple(name for name, one in SOURCES.items() if one.label_level != "none")
UNLABELLED = tuple(name for name in SOURCES if name not in LABELLED)


def open_source(name: str, root: Path | str) -> "Source":
    """The source of that name below `root`.

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
    source: Source = getattr(importlib.import_module(module), kind)(root)
    return source


def _check_local(name: str, root: Path) -> None:
    if not root.is_dir():
        raise DataError(f"{name} folder {root} does not exist: pass the folder that holds the data set")
    if not any(root.iterdir()):
        raise DataError(f"{name} folder {root} is empty: pass the folder that holds the data set")

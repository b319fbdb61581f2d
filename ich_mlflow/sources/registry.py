"""Sources by name."""

from pathlib import Path

from ich_mlflow.errors import DataError, OptionError, nearest
from ich_mlflow.sources.base import Source
from ich_mlflow.sources.folder import is_url

SOURCE_NAMES = ("rsna", "ctich", "phantom", "cq500", "rsna-test")


def open_source(name: str, root: Path | str) -> Source:
    """The source of that name below `root`.

    Raises OptionError for an unknown name, DataError where `root` is missing, no folder, or empty.
    """
    if name not in SOURCE_NAMES:
        raise OptionError(
            f"source is {name!r}, expected one of {', '.join(SOURCE_NAMES)}: pass for example -P source=rsna"
            f"{nearest(name, SOURCE_NAMES)}"
        )
    root = str(root)
    if not is_url(root):
        _check_local(name, Path(root))
    # Imported where used: a run needs one source's libraries, not all of them.
    if name == "rsna":
        from ich_mlflow.sources.rsna import RsnaSource

        return RsnaSource(root)
    if name == "ctich":
        from ich_mlflow.sources.ctich import CtIchSource

        return CtIchSource(root)
    if name == "cq500":
        from ich_mlflow.sources.cq500 import Cq500Source

        return Cq500Source(root)
    if name == "rsna-test":
        from ich_mlflow.sources.rsna import RsnaTestSource

        return RsnaTestSource(root)
    from ich_mlflow.sources.phantom import PhantomSource

    return PhantomSource(root)


def _check_local(name: str, root: Path) -> None:
    if not root.is_dir():
        raise DataError(f"{name} folder {root} does not exist: pass the folder that holds the data set")
    if not any(root.iterdir()):
        raise DataError(f"{name} folder {root} is empty: pass the folder that holds the data set")

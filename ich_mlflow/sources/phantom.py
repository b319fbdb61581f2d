"""The phantom cohort as a source: RSNA's layout, read by RSNA's reader."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ich_mlflow.dicom.slice import Slice
from ich_mlflow.sources.base import LabelledFile
from ich_mlflow.sources.rsna import RsnaSource


@dataclass(frozen=True)
class PhantomSource:
    """A folder that phantom.cohort.write_cohort made."""

    root: Path

    @property
    def name(self) -> str:
        return "phantom"

    def files(self) -> Sequence[LabelledFile]:
        """As RsnaSource.files."""
        return RsnaSource(self.root).files()

    def read(self, file: LabelledFile) -> Slice:
        """As RsnaSource.read."""
        return RsnaSource(self.root).read(file)

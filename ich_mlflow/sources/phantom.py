"""The phantom cohort as a source: RSNA's layout, read by RSNA's reader."""

from dataclasses import dataclass
from typing import ClassVar

from ich_mlflow.sources.rsna import RsnaSource


@dataclass(frozen=True)
class PhantomSource(RsnaSource):
    """A folder that phantom.cohort.write_cohort made."""

    name: ClassVar[str] = "phantom"
    overlap: ClassVar[str] = "made by this project, no patient"

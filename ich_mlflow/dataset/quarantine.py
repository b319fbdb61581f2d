"""The list of files that can't be used, and how many of them are too many."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from ich_mlflow.errors import QuarantineError
from ich_mlflow.sources.base import UNMATCHED, Quarantined
from ich_mlflow.system.whole import write_whole

#: The list's name in a stored set's folder.
QUARANTINE = "quarantine.csv"
COLUMNS = ("file", "reason", "tag", "detail")


@dataclass
class Quarantine:
    """What has been found so far.

    num_slices  of the whole source, good and bad, that have both a file and labels
    limit       the share of them that may be unusable, 0 to 1
    strict      nothing at all may be, labels without a file and files without labels included
    """

    num_slices: int
    limit: float
    strict: bool
    found: list[Quarantined] = field(default_factory=list)
    #: Files that count towards the limit: all but those that only lack their counterpart.
    num_counted: int = 0

    def add(self, more: Iterable[Quarantined]) -> None:
        """Take these on the list. Raises QuarantineError as soon as they are too many."""
        more = list(more)
        self.found += more
        self.num_counted += sum(one.reason not in UNMATCHED for one in more)
        if self.strict and more:
            first = more[0]
            raise QuarantineError(
                f"strict: {first.file} can't be used, {first.reason} ({first.detail}): mend it, leave it out, or "
                "pass -P strict=false"
            )
        if self.num_counted > self.limit * self.num_slices:
            raise QuarantineError(self._too_many())

    def check_finished(self, counts: Mapping[str, int], path: Path) -> None:
        """Hold a finished set to limit and strict. counts: by reason. Raises QuarantineError."""
        counted = sum(count for reason, count in counts.items() if reason not in UNMATCHED)
        if (self.strict and counts) or counted > self.limit * self.num_slices:
            said = ", ".join(f"{reason} {count}" for reason, count in counts.items())
            raise QuarantineError(
                f"the set was made without {sum(counts.values()):,} files that can't be used ({said}; {path}), more "
                "than strict or quarantine_limit allow: mend them, or pass other options"
            )

    def counts(self) -> dict[str, int]:
        """Files by reason, most frequent first."""
        ordered = sorted(
            Counter(one.reason for one in self.found).items(), key=lambda item: (-item[1], item[0])
        )
        return dict(ordered)

    def write(self, path: Path) -> None:
        """Write the list as CSV, by file."""
        ordered = sorted(self.found, key=lambda one: (one.file, one.reason))
        rows = [(one.file, one.reason, one.tag, one.detail) for one in ordered]
        text = pd.DataFrame(rows, columns=list(COLUMNS)).to_csv(index=False)
        # A file name that is no UTF-8 must not end the run here.
        write_whole(path, text.encode(errors="backslashreplace"))

    def _too_many(self) -> str:
        first = next(one for one in self.found if one.reason not in UNMATCHED)
        counts = ", ".join(f"{reason} {count}" for reason, count in self.counts().items())
        return (
            f"{self.num_counted:,} of {self.num_slices:,} slices can't be used so far, more than quarantine_limit "
            f"{self.limit:g} allows ({counts}; first {first.file}: {first.detail}): mend them, or pass "
            "-P quarantine_limit="
        )

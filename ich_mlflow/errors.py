"""The exceptions a user can meet.

    IchError                 every mistake that is the user's to mend; entry points print it as one line
    ├── OptionError          an option is out of range or contradicts another
    ├── DataError            a folder, table or label file is missing, empty or contradicts itself
    │   ├── SliceError       one image can't be used: truncated, not CT, no rescale tags
    │   ├── QuarantineError  more slices can't be used than the user allows
    │   └── SplitError       the patients can't be split as asked
    ├── ModelError           weights or a model can't be found, loaded or logged
    │   ├── TrainingError    a training can't go on; what it has reached is kept
    │   └── OutputError      a network's answer is no probability
    ├── StoreError           MLflow's store can't be used: deleted, moved, not there, no right
    ├── DriftFound       what a model sees has changed; the exit code is 3
    └── PromotionError       there is nothing to promote, or the registry refuses
        └── PromotionRefused the candidate failed a gate; the exit code is 3

A message says what was found, what was expected and how to fix it, and names the file.
"""

from collections.abc import Iterable
from difflib import get_close_matches


def first_line(error: Exception) -> str:
    """Of what a library's error says; the kind of error where it says nothing."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


#: Exit code of a stage that has done its work and whose answer is no: a scheduler can act on it.
ANSWERED_NO = 3


class IchError(Exception):
    """A mistake the user can mend. The message is one line: what, what was expected, how to fix it."""

    exit_code = 1


class OptionError(IchError, ValueError):
    """An option is out of range, unknown, or contradicts another."""


class DataError(IchError):
    """Input data is missing, empty, or contradicts itself."""


class SliceError(DataError):
    """One image can't be used. The message names the file, what is wrong and how to fix it.

    reason: one word for the quarantine list, as truncated or no_rescale. tag: the DICOM keyword it is about,
    or ''.
    """

    def __init__(self, message: str, *, reason: str = "unusable", tag: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.tag = tag


class QuarantineError(DataError):
    """More slices can't be used than the user allows, or one where every slice must be usable."""


class SplitError(DataError):
    """The patients can't be divided as asked."""


class ModelError(IchError):
    """Weights or a model can't be found, loaded or logged."""


class TrainingError(ModelError):
    """A training can't go on: its loss is no number, memory or disk is full. What it has reached is kept."""


class OutputError(ModelError):
    """A network's answer is no probability: not finite, or not of 0 to 1. Nothing may be decided by it."""


class StoreError(IchError):
    """MLflow's store of runs, models and artifacts can't be used."""


class PromotionError(IchError):
    """There is nothing to promote, or the registry refuses."""


class PromotionRefused(PromotionError):
    """The candidate did not pass every gate. No mistake: the exit code tells it from one."""

    exit_code = ANSWERED_NO


class DriftFound(IchError):
    """What a model sees differs from what it saw. No mistake: the exit code tells it from one."""

    exit_code = ANSWERED_NO


def nearest(name: str, known: Iterable[str]) -> str:
    """` (did you mean X?)`, or X or Y, by the known names that are most like the unknown one; '' where none is."""
    close = get_close_matches(name, list(known), n=2)
    return f" (did you mean {' or '.join(close)}?)" if close else ""

"""The reference that travels in a model version: what it said of the exams that it was validated on. Pure.

They are records like the monitor's own, without identity and without what a stored set doesn't keep: manufacturer,
kernel, transfer syntax, warnings, and slices that could not be used.
"""

import json
from collections.abc import Sequence
from dataclasses import replace

from ich_mlflow.errors import ModelError
from ich_mlflow.labels import ANY
from ich_mlflow.monitoring.record import FLAGGED, NOT_FLAGGED, REVIEW, UNCERTAIN, Record

#: Beside a version's networks, a line an exam.
REFERENCE_FILE = "reference.jsonl"
#: Stands for the site of records that are of a version.
VALIDATION_SITE = "validation"


def reference_text(records: Sequence[Record]) -> str:
    """The records as the file has them; '' of none.

    In the order of their probabilities, not of the set: nobody can lay them beside its list of studies.
    """
    return "".join(
        f"{one.to_line()}\n" for one in sorted(records, key=lambda one: one.probabilities.get(ANY, 0.0))
    )


def records_of(text: str, *, model_name: str, model_version: str) -> list[Record]:
    """The reverse, as said by that version. Raises ModelError for another format."""
    try:
        found = [Record.from_values(json.loads(line)) for line in text.splitlines()]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{REFERENCE_FILE} of model {model_name}/{model_version} is not as this version of ich_mlflow writes it "
            f"({error}): recalibrate it, or pass -P reference=auto"
        ) from None
    return [replace(one, model_name=model_name, model_version=model_version) for one in found]


def as_far_as_known(window: Sequence[Record]) -> tuple[Record, ...]:
    """The window without what the reference of a version knows nothing of, so that it can't be taken for a change.

    A study that is for review by its files alone counts by what the model decided.
    """
    return tuple(
        replace(one, status=_decided(one), unusable=0, manufacturer="", kernel="", syntax="", warnings=())
        for one in window
        if one.probabilities
    )


def without_decisions(records: Sequence[Record]) -> tuple[Record, ...]:
    """The records as if nothing was decided: of another operating point decisions can't be compared."""
    return tuple(replace(one, status=NOT_FLAGGED, uncertain=False) for one in records)


def _decided(one: Record) -> str:
    if one.status != REVIEW:
        return one.status
    return FLAGGED if ANY in one.positive else UNCERTAIN if one.uncertain else NOT_FLAGGED

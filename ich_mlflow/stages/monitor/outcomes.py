"""How right the model was, where labels of exams came later."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ich_mlflow.errors import DataError
from ich_mlflow.evaluation.interval import UNKNOWN, Interval
from ich_mlflow.evaluation.proportion import clopper_pearson
from ich_mlflow.labels import ANY
from ich_mlflow.monitoring.drift import larger
from ich_mlflow.monitoring.log import site_of
from ich_mlflow.monitoring.record import Record
from ich_mlflow.system.counting import counted

STUDY, STUDY_UID = "study", "study_uid"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A figure of the labelled exams, with its 95 % interval; NaN where it is not estimable."""

    name: str
    value: float
    interval: Interval


@dataclass(frozen=True, kw_only=True)
class Labels:
    """any: whether there is any bleed, by the study's hash. notes: what was amiss."""

    any: Mapping[str, bool]
    notes: tuple[str, ...] = ()


def read_labels(path: Path, logs: Path, records: Sequence[Record]) -> Labels:
    """The labels of those exams. Raises DataError for another table, one that contradicts itself, or of other exams."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} can't be read as CSV ({type(error).__name__}): expected columns study, any"
        ) from None
    by = next((name for name in (STUDY, STUDY_UID) if name in table), None)
    if by is None or ANY not in table:
        raise DataError(
            f"{path} has the columns {', '.join(table.columns[:6])}, expected {STUDY} (the logs' hash) or {STUDY_UID}, "
            f"and {ANY}"
        )
    wrong = table.index[~table[ANY].isin(["0", "1"])]
    if len(wrong):
        raise DataError(
            f"{path} has another label than 0 or 1 in row {wrong[0] + 2}: expected {ANY} to be 0 or 1"
        )
    keys = table[by]
    if by == STUDY_UID:
        site = site_of(logs if logs.is_dir() else logs.parent, make=False)
        if site.name != records[0].site:
            raise DataError(
                f"the key beside {logs} is not that of the logs' site {records[0].site}: set ICH_MONITOR_KEY to theirs"
            )
        keys = keys.map(site.hashed)
    both = table.groupby(keys)[ANY].nunique()
    if (both > 1).any():
        raise DataError(
            f"{path} contradicts itself: {counted(int((both > 1).sum()), 'study', 'studies')} with 0 and 1; expected "
            "one label each"
        )
    known = {one.study for one in records}
    labels = {key: value == "1" for key, value in zip(keys, table[ANY], strict=True) if key in known}
    unknown = len(set(keys)) - len(labels)
    if not labels:
        raise DataError(
            f"{path} has no study of the logs among {counted(unknown, 'study', 'studies')}: expected the logs' hashes "
            f"in {STUDY}, or UIDs in {STUDY_UID}"
        )
    note = f"{counted(unknown, 'labelled study', 'labelled studies')} not in the logs: left out"
    return Labels(any=labels, notes=(note,) if unknown else ())


def outcomes_of(records: Sequence[Record], labels: Labels) -> list[Outcome]:
    """AUC, sensitivity and specificity of any bleed, of the labelled exams that were scored."""
    scored = [one for one in records if one.study in labels.any and ANY in one.probabilities]
    truth = np.array([labels.any[one.study] for one in scored], dtype=bool)
    shares = np.array([one.probabilities[ANY] for one in scored])
    flagged = np.array([ANY in one.positive for one in scored], dtype=bool)
    auc, interval = (
        larger(shares[~truth], shares[truth]) if 0 < truth.sum() < len(truth) else (float("nan"), UNKNOWN)
    )
    return [
        Outcome(name="AUC", value=auc, interval=interval),
        _share("sensitivity", flagged[truth]),
        _share("specificity", ~flagged[~truth]),
    ]


def _share(name: str, hits: np.ndarray) -> Outcome:
    value = float(hits.mean()) if len(hits) else float("nan")
    return Outcome(name=name, value=value, interval=clopper_pearson(value, len(hits)))


def one_class_note(labels: Labels) -> str:
    """What is amiss where all labelled exams are alike; '' where they are not."""
    found = set(labels.any.values())
    if len(found) == 2:
        return ""
    which, lacks = ("with a bleed", "specificity") if True in found else ("without a bleed", "sensitivity")
    return f"all labelled exams are {which}: AUC and {lacks} are not estimable"

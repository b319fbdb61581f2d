"""Records back from their logs, and what of the logs is amiss, a line each."""

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from ich_mlflow.errors import DataError
from ich_mlflow.monitoring.log import FOLDER_VARIABLE, PREFIX, SUFFIX, log_files
from ich_mlflow.monitoring.record import EXAM, SLICES, STATUSES, Record
from ich_mlflow.system.counting import counted

#: Of probabilities that are the same: server and predict may round the last ones differently.
_ALIKE_DIGITS = 3
#: Processes that answer at once write out of order by less than this.
_CLOCK_ROOM = timedelta(seconds=60)


@dataclass(frozen=True, kw_only=True)
class Logs:
    """records: in the order of their times, an exam once. notes: what is amiss, or was left out."""

    records: tuple[Record, ...]
    notes: tuple[str, ...] = ()


def read_logs(path: Path) -> Logs:
    """All records of a folder of logs, or of one file. Raises DataError where there is none, or it can't be read."""
    records: list[Record] = []
    cut = broken = lost = back = 0
    try:
        files = log_files(path)
        for file in files:
            found = _of_file(file)
            records += found.records
            cut, broken, lost, back = (
                cut + found.cut,
                broken + found.broken,
                lost + found.lost,
                back + found.back,
            )
    except OSError as error:
        raise DataError(f"{path} can't be read ({error.strerror}): check its permissions") from None
    if not records:
        raise DataError(
            f"{path} has no record of an exam in {counted(len(files), 'file')} {PREFIX}*{SUFFIX}: expected the folder "
            f"that {FOLDER_VARIABLE} or predict's monitor= names"
        )
    records.sort(key=lambda one: one.time)
    said = (
        (cut, f"{counted(cut, 'file')} cut off in the last line: that exam is left out"),
        (broken, f"{counted(broken, 'line')} that can't be read left out: not of this format"),
        (lost, f"{counted(lost, 'answer')} not in the logs: the disk or folder could not be written"),
        (back, f"the clock went back {counted(back, 'time')}: exams are taken in the order of their times"),
    )
    notes = [text for count, text in said if count]
    return Logs(records=tuple(records), notes=tuple(notes))


@dataclass
class _File:
    records: list[Record]
    cut: int = 0
    broken: int = 0
    lost: int = 0
    back: int = 0


def _of_file(path: Path) -> _File:
    found = _File(records=[])
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines):
        if not line.strip():
            continue
        try:
            values: Any = json.loads(line)
            if "lost" in values:
                found.lost += int(values["lost"])
                continue
            record = Record.from_values(values)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            is_last = number == len(lines) - 1  # a whole line ends with a break
            found.cut, found.broken = found.cut + is_last, found.broken + (not is_last)
            continue
        if found.records and record.time < found.records[-1].time - _CLOCK_ROOM:
            found.back += 1
        found.records.append(record)
    return found


def of_site(logs: Logs, site: str) -> Logs:
    """The records of that site; '' for the only one. Raises DataError where there are several, or none of it."""
    counts = Counter(one.site for one in logs.records)
    if not site and len(counts) > 1:
        raise DataError(
            f"the logs are of {len(counts)} sites ({_said(counts)}): expected one, since sites differ; pass -P "
            f"site={counts.most_common(1)[0][0]}"
        )
    if site and site not in counts:
        raise DataError(f"the logs have no exam of site {site}: expected one of {_said(counts)}")
    return replace(logs, records=tuple(one for one in logs.records if site in ("", one.site)))


def of_model(logs: Logs, model: str) -> Logs:
    """The records of that model version, as `ich-5class/3`; '' for that of the last record.

    Raises DataError where there is none of it.
    """
    counts = Counter(one.model for one in logs.records)
    wanted = model or logs.records[-1].model
    if wanted not in counts:
        raise DataError(f"the logs have no exam of model {wanted}: expected one of {_said(counts)}")
    others = Counter({name: count for name, count in counts.items() if name != wanted})
    note = f"{counted(others.total(), 'answer')} of other versions left out ({_said(others)})"
    return Logs(
        records=tuple(one for one in logs.records if one.model == wanted),
        notes=(*logs.notes, *([note] if others else [])),
    )


def once_each(logs: Logs) -> Logs:
    """Each exam once: what was asked about again counts as it was said last, slices that were sent apart as one exam.

    Exams are told by the hash of their study; what has none is an exam each. Of answers of exams and of slices those
    that there are more of are taken.
    """
    units = Counter(one.unit for one in logs.records)
    unit = EXAM if units[EXAM] >= units[SLICES] else SLICES
    grouped: defaultdict[object, list[Record]] = defaultdict(list)
    for place, one in enumerate(logs.records):
        if one.unit == unit:
            grouped[one.study or place].append(one)
    several = [each for each in grouped.values() if len(each) > 1]
    contradicting = 0 if unit == SLICES else sum(len({_result(one) for one in each}) > 1 for each in several)
    alike = 0 if unit == SLICES else len(several) - contradicting
    left_out = len(logs.records) - units[unit]
    notes = [
        *([f"{counted(alike, 'exam')} scored again with the same result: counted once"] if alike else []),
        *(
            [f"{counted(contradicting, 'exam')} scored again with another result: the last one counts"]
            if contradicting
            else []
        ),
        *(
            [f"{counted(left_out, 'answer')} by {'slices' if unit == EXAM else 'exam'} left out"]
            if left_out
            else []
        ),
    ]
    merged = [_as_one(each) if unit == SLICES else each[-1] for each in grouped.values()]
    return Logs(records=tuple(sorted(merged, key=lambda one: one.time)), notes=(*logs.notes, *notes))


def _result(one: Record) -> tuple[Any, ...]:
    shares = ((name, round(value, _ALIKE_DIGITS)) for name, value in one.probabilities.items())
    return one.status, tuple(sorted(shares))


def _as_one(parts: Sequence[Record]) -> Record:
    """Slices of an exam that were answered apart: the highest of each probability, flagged where one of them is."""
    last = parts[-1]
    if len(parts) == 1:
        return last
    names = dict.fromkeys(name for one in parts for name in one.probabilities)
    statuses = {one.status for one in parts}
    return replace(
        last,
        status=next(status for status in STATUSES if status in statuses),
        probabilities={name: max(one.probabilities.get(name, 0.0) for one in parts) for name in names},
        positive=tuple(dict.fromkeys(name for one in parts for name in one.positive)),
        slices=sum(one.slices for one in parts),
        unusable=sum(one.unusable for one in parts),
        warnings=tuple(sorted({name for one in parts for name in one.warnings})),
    )


def _said(counts: Counter[str]) -> str:
    return ", ".join(f"{name}: {count:,}" for name, count in counts.most_common(5))

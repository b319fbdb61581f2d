"""Which exams are the reference, and which the window. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from ich_mlflow.errors import DataError
from ich_mlflow.monitoring.record import EXAM, Record
from ich_mlflow.monitoring.reference import as_far_as_known, without_decisions
from ich_mlflow.monitoring.signals import MIN_EXAMS
from ich_mlflow.parameters import AUTO
from ich_mlflow.stages.monitor.times import REFERENCE_EXAMS, parse_time
from ich_mlflow.system.counting import counted


@dataclass(frozen=True, kw_only=True)
class Windows:
    """reference and window, each in the order of times, without an exam in both; notes: what was left out.

    of_version: whether the reference is what travels in the model version, and no exam of the logs.
    """

    reference: tuple[Record, ...]
    window: tuple[Record, ...]
    notes: tuple[str, ...] = ()
    of_version: bool = False

    @property
    def reference_said(self) -> str:
        """From when to when the reference is, or what it is of."""
        return "the version's own validation exams" if self.of_version else span(self.reference)

    @property
    def said(self) -> str:
        """From when to when the window is."""
        return span(self.window)


def span(records: Sequence[Record]) -> str:
    """`2026-01-05 to 2026-01-12`."""
    return f"{records[0].time:%Y-%m-%d} to {records[-1].time:%Y-%m-%d}"


def windows_of(records: Sequence[Record], *, reference: str, since: str, until: str, exams: int) -> Windows:
    """Divide the exams, which are in the order of their times. Raises DataError where either has too few.

    The window begins after the reference's last exam, whatever `since` says.
    """
    first = _reference(records, reference)
    _expect_enough("reference", first, len(records))
    end = first[-1].time
    begin, stop = (None if text == AUTO else parse_time(text) for text in (since, until))
    mine = {id(one) for one in first}
    later = [one for one in records if id(one) not in mine and one.time >= end]
    window = [
        one for one in later if (begin is None or one.time >= begin) and (stop is None or one.time < stop)
    ]
    window = window[-exams:] if exams else window
    _expect_enough("window", window, len(records))
    before = begin is not None and begin < end
    note = f"the window begins after the reference's last exam, {end:%Y-%m-%d %H:%M}, not at since={since}"
    return Windows(reference=tuple(first), window=tuple(window), notes=(note,) if before else ())


def beside_version(
    records: Sequence[Record], reference: Sequence[Record], *, since: str, until: str, exams: int
) -> Windows:
    """All exams, or those that the options name, beside the reference of the version.

    Raises DataError where either has too few, or the logs are of slices that were answered one by one.
    """
    if any(one.unit != EXAM for one in records):
        raise DataError(
            "the logs are of slices that were answered one by one, and the version's reference is of exams: expected "
            "answers with aggregate=exam, or pass -P reference=auto"
        )
    begin, stop = (None if text == AUTO else parse_time(text) for text in (since, until))
    window = [
        one for one in records if (begin is None or one.time >= begin) and (stop is None or one.time < stop)
    ]
    window = window[-exams:] if exams else window
    _expect_enough("window", window, len(records))
    if len(reference) < MIN_EXAMS:
        raise DataError(
            f"the version's reference has {counted(len(reference), 'exam')}, expected {MIN_EXAMS} or more: pass -P "
            "reference=auto"
        )
    known = as_far_as_known(window)
    _expect_enough("window", known, len(records))
    points = {one.operating_point for one in (*reference, *known)}
    others: tuple[str, ...] = ()
    if len(points) > 1:
        reference, known = without_decisions(reference), without_decisions(known)
        others = (
            f"decisions are by several operating points ({', '.join(sorted(points))}): flag rate and uncertain rate "
            "are not compared",
        )
    note = (
        "the version's reference knows no manufacturer, kernel, transfer syntax, spacing or warnings: those are not "
        "compared, and studies without a score are left out"
    )
    return Windows(reference=tuple(reference), window=known, notes=(note, *others), of_version=True)


def _reference(records: Sequence[Record], reference: str) -> list[Record]:
    if ".." in reference:
        begin, end = map(parse_time, reference.split(".."))
        return [one for one in records if begin <= one.time < end]
    count = min(REFERENCE_EXAMS, len(records) // 2) if reference == AUTO else int(reference)
    return list(records[:count])


def _expect_enough(name: str, found: Sequence[Record], total: int) -> None:
    if len(found) < MIN_EXAMS:
        raise DataError(
            f"the {name} has {counted(len(found), 'exam')} of {total:,} in the logs, expected {MIN_EXAMS} or more: "
            f"wait for more, or pass other times (reference=, since=, until=, exams=)"
        )

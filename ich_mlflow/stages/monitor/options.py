"""What monitor takes."""

from dataclasses import dataclass

from ich_mlflow.parameters import AUTO, Between, Either, Matching, OneOf, check_fields, expect, parameter
from ich_mlflow.stages.common.options import ANY_PATH, SLICE_MODEL
from ich_mlflow.stages.monitor.times import REFERENCE_EXAMS, TIME, parse_time

#: The reference that travels in the model version.
VERSION = "version"
_RANGE = rf"{TIME}\.\.{TIME}"
_TIME_SAID = "a day as 2026-02-01, a time as 2026-02-01T08:00 (UTC), or so many days ago as 7d"
_TIME = Either((OneOf(AUTO), Matching(rf"{TIME}|\d{{1,4}}d", _TIME_SAID)))
#: Headings of --help.
_WHICH = "Which exams are looked at"
_JUDGED = "How they are judged"


@dataclass(frozen=True, kw_only=True)
class MonitorOptions:
    """Compare what a deployed model saw lately with what it saw at first, and say what has drifted.

    Reads the logs of predict and the server. The exit code is 0 where nothing has drifted, 3 where something has, and
    1 for a mistake.
    """

    logs: str = parameter(
        AUTO,
        "the folder of logs (ICH_MONITOR_DIR of the server, monitor= of predict), or one file of it",
        reads=ANY_PATH,
    )
    model: str = parameter(
        AUTO,
        f"whose exams are compared, {SLICE_MODEL}; auto: the version that answered last",
        Either((OneOf(AUTO), SLICE_MODEL)),
    )
    reference: str = parameter(
        AUTO,
        "what the window is compared with: the first so many exams as 300, or a time as 2026-01-01..2026-02-01; "
        f"{VERSION}: the exams that the model version was validated on; auto: the first {REFERENCE_EXAMS}, or "
        "half of all where there are fewer than twice that",
        Either(
            (
                OneOf(AUTO, VERSION),
                Matching(rf"\d{{1,6}}|{_RANGE}", "a number of exams, or a time as 2026-01-01..2026-02-01"),
            )
        ),
    )
    since: str = parameter(
        AUTO, f"where the window begins: {_TIME_SAID}; auto: after the reference", _TIME, group=_WHICH
    )
    until: str = parameter(
        AUTO, "where the window ends, that moment excluded; auto: now", _TIME, group=_WHICH
    )
    exams: int = parameter(
        0, "compare only the last so many exams of the window; 0: all of it", Between(0), group=_WHICH
    )
    labels: str = parameter(
        AUTO,
        "a CSV of labels that became known later, with the columns study (the logs' hash) or study_uid, and any "
        "(0 or 1); auto: none",
        reads=r"(?s).+\.csv",
        group=_JUDGED,
    )
    site: str = parameter(
        AUTO,
        "site whose exams are compared, where the logs are of several sites; auto: the only one",
        group=_WHICH,
    )
    alarms: float = parameter(
        0.01,
        "probability that a window without a change is called drift, over all signals together",
        Between(0.002, 0.5),
        group=_JUDGED,
    )

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("since", "until"):
            self._expect_time(name, getattr(self, name))
        if ".." in self.reference:
            first, last = self.reference.split("..")
            self._expect_time("reference", first)
            self._expect_time("reference", last)
            in_order = parse_time(first) < parse_time(last)
            expect("reference", self.reference, in_order, "a time whose end is later than its beginning")

    def _expect_time(self, name: str, text: str) -> None:
        try:
            if text != AUTO:
                parse_time(text)
        except (ValueError, OverflowError):
            expect(name, getattr(self, name), False, _TIME_SAID)

    def expect_ready(self) -> None:
        """Raise OptionError where no logs were named."""
        expect(
            "logs", self.logs, self.logs != AUTO, "a folder of logs (ICH_MONITOR_DIR, or monitor= of predict)"
        )

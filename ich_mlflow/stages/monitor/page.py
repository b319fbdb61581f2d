"""monitor.html: has what the model sees changed, in what, and what that does not say."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from ich_mlflow import __version__
from ich_mlflow.commands import next_command
from ich_mlflow.evaluation.text import with_interval
from ich_mlflow.report.contents import Picture, Report, Section, Table
from ich_mlflow.stages.monitor.found import COLUMNS, Found, effect_text, p_text, rows_of
from ich_mlflow.system.counting import counted
from ich_mlflow.system.provenance import git_commit
from ich_mlflow.tracking.run import NOTICE

PAGE_FILE = "monitor.html"
#: Signals that stand at the top of the page.
_HEADLINES = 4
LIMITS = (
    "Drift is a change of what the model sees or says, not of how right it is: only labels tell that (labels=).",
    "No drift means that none was seen in so many exams. docs/monitoring.md has how many exams a change takes.",
    "Each look at a window has its own chance of a false alarm, also a second look after more exams, or "
    "another window against the same reference.",
    "Exams of one patient count as if they were of several.",
    "Soft tissue HU is the median of the values from 0 to 80 in a few slices: contrast agent moves it as a "
    "change of the scanner's scale would.",
)


_OF_FIRST = "The reference is what the model saw at first here, not what it was validated on."
_OF_VERSION = (
    "The reference is what the model said of the exams on which its thresholds were chosen, which are from "
    "another place or from its training set: a difference may be there from the first day. In a version with "
    "a network for each fold, each of those exams was scored by one network, and exams here by the mean of "
    "all, which varies less."
)


def page_of(found: Found, pictures: Mapping[str, bytes]) -> Report:
    """The page. pictures: PNG by title."""
    windows, options = found.windows, found.options
    return Report(
        title=f"Monitor: {found.model}",
        subtitle=f"{counted(len(windows.window), 'exam')}, {windows.said}, against {len(windows.reference):,} of the "
        f"reference, {windows.reference_said}",
        notice=f"{NOTICE} Nothing here may decide about a patient.",
        answer=[f"{found.answer[0].upper()}{found.answer[1:]}."],
        headline=[
            (one.name, effect_text(one), f"corrected p {p_text(one.p_corrected)}")
            for one in found.signals[:_HEADLINES]
        ],
        sections=[
            Section(
                anchor="signals",
                title="Signals",
                paragraphs=[
                    "For numbers the effect is how often an exam of the window has a larger value than an exam "
                    "of the reference: 0.5 without a change. For shares and names it is the difference in "
                    "percentage points. Intervals are of 95 % and not corrected; p values are corrected by "
                    f"Holm's method for the number of signals. Drift is a corrected p below {options.alarms:g}."
                ],
                tables=[Table(title="Every signal", columns=COLUMNS, rows=rows_of(found.signals))],
                pictures=[Picture(title=title, png=png) for title, png in pictures.items()],
            ),
            *([_labelled(found)] if found.outcomes else []),
            Section(
                anchor="logs",
                title="Logs",
                paragraphs=[*(f"{text}." for text in found.notes)]
                or ["The logs were read without problems."],
            ),
        ],
        command=_command(found),
        made_by=f"ich_mlflow {__version__}, git commit {git_commit()}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC; monitor "
        f"run {found.run_id}.",
        limits=(*LIMITS, _OF_VERSION if windows.of_version else _OF_FIRST),
    )


def _labelled(found: Found) -> Section:
    parts: Sequence[str] = list(found.outcomes)
    names = [one.name for one in found.outcomes[parts[0]]]
    rows = [
        [name, *(with_interval(one.value, one.interval.low, one.interval.high) for one in each)]
        for name, each in zip(names, zip(*found.outcomes.values(), strict=True), strict=True)
    ]
    return Section(
        anchor="labelled",
        title="Labelled exams",
        paragraphs=[
            "These figures are of any bleed and only of the labelled exams. If flagged exams are labelled "
            "sooner, sensitivity is too high."
        ],
        tables=[Table(title="Performance on labelled exams", columns=["", *parts], rows=rows)],
    )


def _command(found: Found) -> str:
    """What makes the same again: with the moments that the window began and ended at."""
    options, window = found.options, found.windows.window
    told = {
        "logs": options.logs,
        "model": found.model,
        "reference": options.reference
        if ".." in options.reference or found.windows.of_version
        else str(len(found.windows.reference)),
        "since": f"{window[0].time:%Y-%m-%dT%H:%M}",
        "until": f"{window[-1].time + timedelta(minutes=1):%Y-%m-%dT%H:%M}",
        "alarms": options.alarms,
    }
    return next_command("monitor", **told)

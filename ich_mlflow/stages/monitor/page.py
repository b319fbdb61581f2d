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
    "A window that is looked at again after more exams, or several windows of one reference, have a chance of a false "
    "alarm each.",
    "Exams of one patient count as if they were of several.",
    "Soft tissue HU is the middle of values from 0 to 80 in a few slices: contrast agent moves it as a scale would.",
)


_OF_FIRST = "The reference is what the model saw at first here, not what it was validated on."
_OF_VERSION = (
    "The reference is what the model said of the exams that chose its thresholds, at another place or of its training "
    "set: a difference may be there from the first day. Of a version with a network a fold each of those exams was "
    "said by one network, and exams here by the mean of all, which varies less."
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
                    "Of numbers the effect is how often an exam of the window has a larger one than an exam of the "
                    "reference: 0.5 without a change. Of shares and names it is the difference in points. Intervals "
                    "are of 95 % and not corrected; p values are, by Holm, for how many signals there are. Drift is a "
                    f"corrected p below {options.alarms:g}."
                ],
                tables=[Table(title="Every signal", columns=COLUMNS, rows=rows_of(found.signals))],
                pictures=[Picture(title=title, png=png) for title, png in pictures.items()],
            ),
            *([_labelled(found)] if found.outcomes else []),
            Section(
                anchor="logs",
                title="Logs",
                paragraphs=[*(f"{text}." for text in found.notes)] or ["Nothing amiss."],
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
        title="Where labels came",
        paragraphs=[
            "Of any bleed, of the labelled exams alone. If flagged exams are labelled sooner, sensitivity is too high."
        ],
        tables=[Table(title="How right the model was", columns=["", *parts], rows=rows)],
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

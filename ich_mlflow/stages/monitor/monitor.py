"""Compare what a deployed model saw lately with what it saw at first: one run a window, a page, an exit code."""

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from ich_mlflow.errors import DriftFound, ModelError
from ich_mlflow.figures.drift import samples_beside, share_over_time
from ich_mlflow.monitoring.drift import NUMBERS
from ich_mlflow.monitoring.reader import of_model, of_site, once_each, read_logs
from ich_mlflow.monitoring.record import FLAGGED, Record
from ich_mlflow.monitoring.reference import records_of
from ich_mlflow.monitoring.signals import compare, numerics, values_of
from ich_mlflow.parameters import AUTO, typed
from ich_mlflow.report.render import report_html
from ich_mlflow.serving.packaging import reference_text_of
from ich_mlflow.stages.common.run_models import serving_of_run
from ich_mlflow.stages.monitor.found import Found, effect_text, frame_of, metrics_of, p_text
from ich_mlflow.stages.monitor.options import VERSION, MonitorOptions
from ich_mlflow.stages.monitor.outcomes import Outcome, one_class_note, outcomes_of, read_labels
from ich_mlflow.stages.monitor.page import PAGE_FILE, page_of
from ich_mlflow.stages.monitor.windows import Windows, beside_version, windows_of
from ich_mlflow.tracking.registry import full_model_uri
from ich_mlflow.tracking.run import NOTICE, Run, start_run

#: Of the picture over time: at least so many exams a point, and so many points at most of each part.
_BLOCK, _MAX_BLOCKS = 20, 12
#: Signals whose numbers are drawn.
_DRAWN = 6
TABLE = "signals"


def monitor(options: MonitorOptions) -> Found:
    """What `-e monitor` does. Raises DriftFound, whose exit code is 3, where a signal has drifted."""
    found = watch(options)
    if found.drifted:
        raise DriftFound(found.answer)
    return found


def watch(options: MonitorOptions) -> Found:
    """Compare, log on a run of its own and print; return what was found, drift or not."""
    with start_run("monitor") as run:
        run.params(typed(options), prefix="monitor")
        found = _compare(run, options)
        _log(run, found)
        _say(found)
        print(f"page: {run.artifact(PAGE_FILE)}")
        return found


def _compare(run: Run, options: MonitorOptions) -> Found:
    path = Path(options.logs).expanduser()
    logs = of_site(read_logs(path), "" if options.site == AUTO else options.site)
    logs = once_each(of_model(logs, "" if options.model == AUTO else _name_of(options.model)))
    which: dict[str, Any] = {"since": options.since, "until": options.until, "exams": options.exams}
    if options.reference == VERSION:
        windows = beside_version(logs.records, _of_version(logs.records[0]), **which)
    else:
        windows = windows_of(logs.records, reference=options.reference, **which)
    outcomes, notes = _outcomes(options, path, logs.records, windows)
    return Found(
        run_id=run.run_id,
        options=options,
        model=logs.records[0].model,
        windows=windows,
        signals=compare(windows.reference, windows.window, alarms=options.alarms),
        outcomes=outcomes,
        notes=[*logs.notes, *windows.notes, *notes],
    )


def _name_of(text: str) -> str:
    """How records name the model that was typed: `ich-5class/3`, or of one that isn't registered its run."""
    uri = full_model_uri(serving_of_run(text))
    registered = re.fullmatch(r"models:/([^/@]+)/(\d+)", uri)
    return f"{registered[1]}/{registered[2]}" if registered else uri


def _of_version(record: Record) -> list[Record]:
    """The reference of the version that answered. Raises ModelError where it can't be found, or carries none."""
    name, version = record.model_name, record.model_version
    uri = f"models:/{name}/{version}"
    if not version.isdigit():
        raise ModelError(
            f"the logs are of {record.model}, which is not registered, expected a registered version, which carries a "
            "reference: register it, or pass -P reference=auto"
        )
    text = reference_text_of(uri)
    if not text:
        raise ModelError(
            f"{uri} carries no reference, as is so for demonstration models and versions from earlier releases: "
            "train or recalibrate it, or pass -P reference=auto"
        )
    return records_of(text, model_name=name, model_version=version)


def _outcomes(
    options: MonitorOptions, path: Path, records: Sequence[Record], windows: Windows
) -> tuple[dict[str, list[Outcome]], list[str]]:
    if options.labels == AUTO:
        return {}, []
    labels = read_labels(Path(options.labels).expanduser(), path, records)
    parts = {"reference": windows.reference, "window": windows.window}
    if windows.of_version:  # whose exams are not in the labels
        del parts["reference"]
    note = one_class_note(labels)
    return {name: outcomes_of(part, labels) for name, part in parts.items()}, [
        *labels.notes,
        *([note] if note else []),
    ]


def _log(run: Run, found: Found) -> None:
    last = found.windows.window[-1].time
    run.call(found.model, found.windows.said, f"{len(found.drifted)} drifted")
    run.tags({"ich.answer": found.answer, "ich.window": found.windows.said, "ich.model": found.model})
    run.metrics(metrics_of(found), step=int(f"{last:%Y%m%d}"))
    frame = frame_of(found.signals)
    run.table(frame, f"tables/{TABLE}.json")
    run.frame(frame, f"{TABLE}.csv")
    run.text(report_html(page_of(found, _pictures(run, found))), PAGE_FILE)
    run.describe(f"**{found.answer}**", *(f"{text}." for text in found.notes))


def _pictures(run: Run, found: Found) -> dict[str, bytes]:
    windows = found.windows
    blocks = [_blocks(part) for part in (windows.reference, windows.window)]
    every = [one for part in blocks for one in part]
    flagged = np.array([sum(one.status == FLAGGED for one in block) for block in every])
    ends = [
        stats.binomtest(int(hits), len(block)).proportion_ci(method="wilson")
        for hits, block in zip(flagged, every, strict=True)
    ]
    figure = share_over_time(
        [block[len(block) // 2].time for block in every],
        flagged / np.array([len(block) for block in every]),
        np.array([one.low for one in ends]),
        np.array([one.high for one in ends]),
        num_reference=len(blocks[0]),
        ylabel="share of exams flagged",
        title=f"Flag rate of {found.model}",
        note=f"blocks of about {len(every[-1])} exams, with 95 % intervals (Wilson); grey: the reference",
    )
    run.figure(figure, "figures/flag_rate.png")
    by_name = {one.name: one for one in numerics([*windows.reference, *windows.window])}
    drawn = [one.name for one in found.signals if one.kind == NUMBERS][:_DRAWN]
    samples = {
        name: (
            np.array(values_of(by_name[name], windows.reference)),
            np.array(values_of(by_name[name], windows.window)),
        )
        for name in drawn
    }
    pictures = {"Flag rate over time": run.pictures["figures/flag_rate.png"]}
    if samples:
        drifted = [one.name for one in found.drifted]
        beside = samples_beside(
            samples,
            drifted=drifted,
            title="Numbers of the window beside the reference's",
            note="the surest changes first",
        )
        run.figure(beside, "figures/numbers.png")
        pictures["Numbers of window and reference"] = run.pictures["figures/numbers.png"]
    return pictures


def _blocks(records: Sequence[Record]) -> list[Sequence[Record]]:
    count = max(1, min(_MAX_BLOCKS, len(records) // _BLOCK))
    edges = np.linspace(0, len(records), count + 1).astype(int)
    return [records[begin:end] for begin, end in pairwise(edges)]


def _say(found: Found) -> None:
    for text in found.notes:
        print(f"note: {text}")
    for one in found.drifted:
        print(
            f"{one.name}: {one.reference} -> {one.window}, {effect_text(one)}, corrected p {p_text(one.p_corrected)}"
        )
    for part, outcomes in found.outcomes.items():
        said = ", ".join(
            f"{one.name} {one.value:.2f} ({one.interval.low:.2f} to {one.interval.high:.2f})"
            for one in outcomes
            if one.value == one.value
        )
        print(f"labelled exams, {part}: {said or 'none'}")
    print(f"{found.answer}\n{NOTICE}")

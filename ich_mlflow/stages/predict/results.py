"""What a prediction leaves: pictures, DICOM, tables, the page, the monitor's notes and the run's counts."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ich_mlflow import __version__
from ich_mlflow.dicom.findings import Algorithm
from ich_mlflow.evaluation.counts import EXAMS
from ich_mlflow.intake.plan import Study
from ich_mlflow.intake.survey import Skipped, StudyWithoutCT
from ich_mlflow.monitoring.log import LogFolder
from ich_mlflow.parameters import AUTO
from ich_mlflow.prediction import tables
from ich_mlflow.prediction.engine_local import Workers
from ich_mlflow.prediction.out_folder import PAGE, PREDICTIONS, SERIES, SKIPPED, WORKLIST
from ich_mlflow.prediction.outputs import OutputOptions, made_outputs, make_outputs
from ich_mlflow.prediction.page import MAX_SECTIONS, worklist_page
from ich_mlflow.prediction.seen import records_of
from ich_mlflow.prediction.verdict import STATUSES, StudyResult
from ich_mlflow.report.render import worklist_html
from ich_mlflow.report.worklist import Shown
from ich_mlflow.stages.predict.job import Job
from ich_mlflow.system.counting import counted
from ich_mlflow.system.whole import write_whole
from ich_mlflow.tracking.run import NOTICE, Run


def make_all(job: Job, results: Sequence[StudyResult], workers: Workers) -> None:
    """Pictures and DICOM of every study that was scored."""
    version = job.answerer.version
    options = OutputOptions(
        pictures=job.options.pictures,
        dicom=job.options.dicom,
        algorithm=Algorithm(
            model_name=version.name,
            model_version=version.version,
            operating_point=job.asked.operating_point,
            project_version=__version__,
            caveats=job.answerer.caveats(job.asked, unit=EXAMS),
        ),
    )
    left = [one for one in results if one.said and made_outputs(job.out, one) is None]
    with tqdm(total=len(left), desc="pictures and DICOM", unit="study", disable=not left) as progress:
        for _ in workers.run(make_outputs, [(one, job.out, options) for one in left]):
            progress.update()


def write_results(
    job: Job,
    results: Sequence[StudyResult],
    skipped: Sequence[Skipped],
    studies: Sequence[Study],
    without_ct: Sequence[StudyWithoutCT],
) -> None:
    """Write tables and page; say what could not be made."""
    made = {one.study.number: made_outputs(job.out, one) for one in results}
    lacking = [outputs.why_none for outputs in made.values() if outputs is not None and outputs.why_none]
    if lacking:
        print(
            f"{counted(len(lacking), 'study', 'studies')} without some pictures or DICOM; the first: {lacking[0]}"
        )
    pictures: dict[int, list[Shown]] = {}
    for one in results:
        outputs = made[one.study.number]
        if outputs is not None and outputs.pictures and len(pictures) < MAX_SECTIONS:
            pictures[one.study.number] = [
                Shown(caption=caption, jpeg=(job.out.pictures / name).read_bytes())
                for caption, name in outputs.pictures
            ]
    version, specification = job.answerer.version, job.model.specification
    measures_blood = job.model.classifier.finds_blood
    caveats = (*job.answerer.caveats(job.asked, unit=EXAMS), *job.answerer.cannot_abstain(job.asked))
    page = worklist_page(
        results,
        pictures,
        Counter(one.reason for one in skipped),
        specification=specification,
        version=version,
        operating_point=job.asked.operating_point,
        notice=f"{NOTICE} Nothing here may decide about a patient.",
        caveats=caveats,
        made_by=f"ich_mlflow {__version__}, {job.model.uri}, trained on {specification.trained_on}.",
        has_heat_maps=job.model.classifier.can_explain,
        measures_blood=measures_blood,
        abstains=job.asked.abstain,
        without_ct=without_ct,
    )
    num_dicom = {number: outputs.dicom for number, outputs in made.items() if outputs is not None}
    folder = job.out.path
    for name, frame in (
        (
            PREDICTIONS,
            tables.predictions(results, job.answerer, job.asked, measures_blood=measures_blood),
        ),
        (WORKLIST, tables.worklist(results, num_dicom, caveats=caveats, measures_blood=measures_blood)),
        (SERIES, tables.series_table(studies)),
        (SKIPPED, tables.skipped_table(skipped)),
    ):
        write_whole(folder / name, tables.as_csv(frame))
    write_whole(folder / PAGE, tables.printable(worklist_html(page)))


def note_for_monitor(job: Job, results: Sequence[StudyResult]) -> None:
    """For the monitor, where a folder is named. A prediction is not lost for its notes."""
    if job.options.monitor == AUTO:
        return
    folder = LogFolder(Path(os.path.expanduser(job.options.monitor)).absolute())
    try:
        folder.append(records_of(results, job.answerer.version, job.asked, folder.site))
    except OSError as error:
        print(
            f"note: nothing was noted for the monitor ({error.strerror or type(error).__name__}): check monitor="
        )


def summary_of(
    job: Job,
    results: Sequence[StudyResult],
    reasons: Counter[str],
    *,
    num_files: int,
    num_series: int,
    seconds: float,
) -> dict[str, Any]:
    """Counts, times, and what the results were made with: what summary.json holds."""
    statuses = Counter(one.status for one in results)
    num_slices = sum(len(one.slices) for one in results)
    return {
        "settings": job.settings,
        "counts": {
            "files": num_files,
            "files_left_out": sum(reasons.values()),
            "studies": len(results),
            "series": num_series,
            "series_scored": sum(len(one.study.series) for one in results),
            "slices": num_slices,
            "slices_unusable": sum(bool(one.error) for result in results for one in result.slices),
            **{status.replace(" ", "_"): statuses[status] for status in STATUSES},
        },
        "left_out": dict(reasons),
        "seconds_to_scores": round(seconds, 2),
    }


def log_counts(run: Run, summary: dict[str, Any]) -> None:
    """The summary's counts as metrics of the run."""
    run.metrics({f"predict/{name}": count for name, count in summary["counts"].items()})
    run.metrics({f"predict/left_out/{reason}": count for reason, count in summary["left_out"].items()})
    run.metrics({"predict/seconds_to_scores": summary["seconds_to_scores"]})


def found_said(summary: dict[str, Any]) -> str:
    """`4 studies: 3 flagged, 0 uncertain, 1 for review, 0 not flagged (87 slices, 0 unusable)`."""
    counts = summary["counts"]
    return (
        f"{counted(counts['studies'], 'study', 'studies')}: {counts['flagged']:,} flagged, "
        # a summary that an earlier version wrote counts none
        f"{counts.get('uncertain', 0):,} uncertain, {counts['review']:,} for review, {counts['not_flagged']:,} not "
        f"flagged ({counted(counts['slices'], 'slice')}, {counts['slices_unusable']:,} unusable)"
    )

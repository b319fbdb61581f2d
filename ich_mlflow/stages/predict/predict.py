"""One's own DICOM files, scored: from a folder of all sorts of files to a worklist."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ich_mlflow.errors import DataError
from ich_mlflow.intake.archive import is_zip, unpack
from ich_mlflow.intake.look import why_cut, why_no_head
from ich_mlflow.intake.packed import with_unpacked
from ich_mlflow.intake.plan import plan
from ich_mlflow.intake.survey import survey
from ich_mlflow.parameters import AUTO
from ich_mlflow.prediction.engine_local import Workers
from ich_mlflow.prediction.out_folder import MAY_PASS, PAGE, OutFolder
from ich_mlflow.prediction.verdict import in_order
from ich_mlflow.stages.common.scoring import champion_name, load_model
from ich_mlflow.stages.predict.job import Job, input_files, input_of, job_of
from ich_mlflow.stages.predict.options import PredictOptions
from ich_mlflow.stages.predict.results import (
    found_said,
    log_counts,
    make_all,
    note_for_monitor,
    summary_of,
    write_results,
)
from ich_mlflow.stages.predict.scores import may_pass, results_of, score_instead, score_series_of, try_again
from ich_mlflow.stages.predict.words import archives_said, left_out_said, why_not_said, without_ct_said
from ich_mlflow.system.counting import counted
from ich_mlflow.tracking.run import NOTICE, start_run


def predict(options: PredictOptions) -> Path:
    """Score the input and write the results; return their folder. What was made before with these options is found.

    The run gets counts and times: no name of a file, patient or study.
    """
    with start_run("predict", private=True) as run, _one_line():
        path = input_of(options)
        model = load_model(options.model if options.model != AUTO else champion_name())
        job = job_of(options, path, model)
        run.params(
            {**job.settings["options"], "engine": options.engine, "workers": job.workers}, prefix="predict"
        )
        run.tags({"ich.model_uri": model.uri, "ich.trained_run": model.trained_run})
        summary = job.out.finished(job.settings)
        if summary is None:
            with job.out.open(job.settings):
                summary = _predict(job, path)
                job.out.finish(summary)
        else:
            print("this prediction was made before: nothing is scored again")
        log_counts(run, summary)
        counts = summary["counts"]
        run.call(
            model.short, counted(counts["studies"], "study", "studies"), f"{counts['flagged']:,} flagged"
        )
        run.describe(f"**Model**: `{model.uri}`", f"**Found**: {found_said(summary)}")
        _say(job.out, summary)
        return job.out.path


@contextmanager
def _one_line() -> Iterator[None]:
    """What the system refuses, as a user's mistake. Names of files in its messages may be names of patients."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"a file or folder can't be read or written ({error.strerror or type(error).__name__}): check input, out "
            "and their disks; the same command goes on from here"
        ) from None


def _predict(job: Job, path: Path) -> dict[str, Any]:
    started = time.monotonic()
    try_again(job.out)
    files, refused = (
        (unpack(path, job.out.unpacked), [])
        if is_zip(path)
        else with_unpacked(input_files(job.options, path, job.but), job.out.unpacked)
    )
    found = survey(files, workers=job.workers)
    found.skipped[:0] = refused
    num_files = len(files) + len(refused)
    print(
        f"{counted(num_files, 'file')}: {counted(found.num_images, 'CT image')} of "
        f"{counted(len(found.studies), 'study', 'studies')}{left_out_said(found.reasons())}"
    )
    without_ct = found.without_ct()
    if without_ct:
        print(without_ct_said(without_ct))
    if not found.studies:
        raise DataError(
            f"no CT image in {counted(num_files, 'file')}{left_out_said(found.reasons())}: expected DICOM files of CT; "
            f"pass another -P input={archives_said(found.skipped)}"
        )
    studies = plan(found.studies, series=job.options.series, look=why_no_head, ends=why_cut)
    chosen = [series for study in studies for series in study.series]
    num_series = sum(len(study.rows) for study in studies)
    print(f"{num_series:,} series: {len(chosen):,} non-contrast head CT to score{why_not_said(studies)}")
    with Workers(job.model.classifier, job.workers) as workers:
        score_series_of(job, chosen, workers)
        studies = score_instead(job, studies, workers)
        scored_after = time.monotonic() - started
        results = in_order(results_of(job, studies))
        make_all(job, results, workers)
    write_results(job, results, found.skipped, studies, without_ct)
    note_for_monitor(job, results)
    summary = summary_of(
        job, results, found.reasons(), num_files=num_files, num_series=num_series, seconds=scored_after
    )
    return {**summary, MAY_PASS: may_pass(job.out, found.skipped)}


def _say(out: OutFolder, summary: dict[str, Any]) -> None:
    print(f"{found_said(summary)}\nworklist: {out.path / PAGE}\n{NOTICE}")

"""One's own DICOM files, scored: from a folder of all sorts of files to a worklist."""

import os
import time
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ich_mlflow import __version__
from ich_mlflow.dicom.findings import Algorithm
from ich_mlflow.errors import DataError
from ich_mlflow.evaluation.counts import EXAMS
from ich_mlflow.intake.archive import is_zip, unpack
from ich_mlflow.intake.files import InputFile, files_digest, files_of, is_dicomdir
from ich_mlflow.intake.look import why_cut, why_no_head
from ich_mlflow.intake.packed import with_unpacked
from ich_mlflow.intake.plan import PlannedSeries, Study, plan
from ich_mlflow.intake.survey import ARCHIVE, UNREADABLE, Skipped, survey
from ich_mlflow.monitoring.log import LogFolder
from ich_mlflow.parameters import AUTO, text_of
from ich_mlflow.prediction import tables
from ich_mlflow.prediction.engine_local import Workers, score_locally
from ich_mlflow.prediction.out_folder import (
    FILES,
    MAY_PASS,
    PAGE,
    PREDICTIONS,
    SERIES,
    SKIPPED,
    WORKLIST,
    OutFolder,
    digest_of,
)
from ich_mlflow.prediction.outputs import OutputOptions, made_outputs, make_outputs
from ich_mlflow.prediction.page import MAX_SECTIONS, worklist_page
from ich_mlflow.prediction.score import passing_notes, read_score
from ich_mlflow.prediction.seen import records_of
from ich_mlflow.prediction.verdict import STATUSES, StudyResult, in_order, judge
from ich_mlflow.report.render import worklist_html
from ich_mlflow.report.worklist import Shown
from ich_mlflow.serving.request import Asked
from ich_mlflow.serving.response import Answerer, ModelVersion
from ich_mlflow.stages.common.scoring import LoadedModel, champion_name, load_model
from ich_mlflow.stages.predict.options import PredictOptions
from ich_mlflow.system.counting import counted
from ich_mlflow.system.processes import num_cores
from ich_mlflow.system.whole import write_whole
from ich_mlflow.tracking.run import NOTICE, Run, start_run

PREDICTIONS_FOLDER = Path("predictions")
#: What MLflow keeps where the command is called, should that be the input.
_OURS = ("mlflow.db", "mlruns", "mlartifacts")
#: Made once where no input is named, to look at what the stage does.
PHANTOM_STUDIES = Path("data") / "phantom-studies"


@dataclass(frozen=True, kw_only=True)
class _Job:
    """All that a prediction goes by. but: what below the input is ours. settings: what tells it from another one."""

    options: PredictOptions
    model: LoadedModel
    answerer: Answerer
    asked: Asked
    out: OutFolder
    but: tuple[Path, ...]
    settings: dict[str, Any]

    @property
    def workers(self) -> int:
        return self.options.workers or num_cores()


def predict(options: PredictOptions) -> Path:
    """Score the input and write the results; return their folder. What was made before with these options is found.

    The run gets counts and times: no name of a file, patient or study.
    """
    with start_run("predict", private=True) as run, _one_line():
        path = _input(options)
        model = load_model(options.model if options.model != AUTO else champion_name())
        job = _job(options, path, model)
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
        _log(run, summary)
        counts = summary["counts"]
        run.call(
            model.short, counted(counts["studies"], "study", "studies"), f"{counts['flagged']:,} flagged"
        )
        run.describe(f"**Model**: `{model.uri}`", f"**Found**: {_found(summary)}")
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


def _input(options: PredictOptions) -> Path:
    if options.input != AUTO:
        path = Path(os.path.expanduser(options.input)).absolute()
        if not path.exists():
            raise DataError(
                f"input {path} is not there, expected a DICOM file, a folder or a zip: pass -P input=<path>"
            )
        if is_dicomdir(path):
            print("input is a DICOMDIR: the folder that it stands in is scored")
            return path.parent
        return path
    if not PHANTOM_STUDIES.is_dir():
        from ich_mlflow.phantom.studies import StudySetOptions, write_study_set  # loads the anatomy

        print(f"no input was named: phantom studies are made in {PHANTOM_STUDIES}")
        part = PHANTOM_STUDIES.with_name(f"{PHANTOM_STUDIES.name}.partial")
        write_study_set(part, StudySetOptions(studies=4, exam_rate=0.35, junk=12))
        part.rename(PHANTOM_STUDIES)
    return PHANTOM_STUDIES.absolute()


def _job(options: PredictOptions, path: Path, model: LoadedModel) -> _Job:
    specification = model.specification
    version = ModelVersion.of(model.uri, specification)
    decides_by = specification.decides_by if options.operating_point == AUTO else options.operating_point
    told = {
        "model": model.uri,
        "series": options.series,
        "operating_point": decides_by,
        "pictures": options.pictures,
        "dicom": text_of(options.dicom),
        "abstain": text_of(options.abstain),
    }
    ours = Path(os.path.expanduser(PREDICTIONS_FOLDER if options.out == AUTO else options.out)).absolute()
    noted = [] if options.monitor == AUTO else [Path(os.path.expanduser(options.monitor)).absolute()]
    but = (ours, *noted, *(Path(name).absolute() for name in _OURS))
    settings = {"input": str(path), "options": told, FILES: files_digest(_files(options, path, but))}
    # No part of the input's name: it may be a patient's.
    name = digest_of(path, *told.values(), settings[FILES])
    out = OutFolder(ours / name if options.out == AUTO else ours)
    return _Job(
        options=options,
        model=model,
        answerer=Answerer(specification=specification, version=version),
        asked=Asked(operating_point=decides_by, abstain=options.abstain),
        out=out,
        but=but,
        settings=settings,
    )


def _files(options: PredictOptions, path: Path, but: tuple[Path, ...]) -> list[InputFile]:
    return files_of(path, but=but, follow_links=options.follow_links)


def _predict(job: _Job, path: Path) -> dict[str, Any]:
    started = time.monotonic()
    _try_again(job.out)
    files, refused = (
        (unpack(path, job.out.unpacked), [])
        if is_zip(path)
        else with_unpacked(_files(job.options, path, job.but), job.out.unpacked)
    )
    found = survey(files, workers=job.workers)
    found.skipped[:0] = refused
    num_files = len(files) + len(refused)
    print(
        f"{counted(num_files, 'file')}: {counted(found.num_images, 'CT image')} of "
        f"{counted(len(found.studies), 'study', 'studies')}{_but(found.reasons())}"
    )
    if not found.studies:
        raise DataError(
            f"no CT image in {counted(num_files, 'file')}{_but(found.reasons())}: expected DICOM files of CT; "
            f"pass another -P input={_of_archives(found.skipped)}"
        )
    studies = plan(found.studies, series=job.options.series, look=why_no_head, ends=why_cut)
    chosen = [series for study in studies for series in study.series]
    num_series = sum(len(study.rows) for study in studies)
    print(f"{num_series:,} series: {len(chosen):,} non-contrast head CT to score{_why_not(studies)}")
    with Workers(job.model.classifier, job.workers) as workers:
        _score(job, chosen, workers)
        studies = _score_instead(job, studies, workers)
        scored_after = time.monotonic() - started
        results = in_order(_results(job, studies))
        _make(job, results, workers)
    _write(job, results, found.skipped, studies)
    _note(job, results)
    summary = _summary(
        job, results, found.reasons(), num_files=num_files, num_series=num_series, seconds=scored_after
    )
    return {**summary, MAY_PASS: _may_pass(job.out, found.skipped)}


def _try_again(out: OutFolder) -> None:
    """Forget what could not be done for now, by a start before, and what was made of it."""
    passing = passing_notes(out.notes)
    for path in passing:
        path.unlink()
    if passing:
        print(f"{counted(len(passing), 'part')} of it could not be done before: tried again")
        out.forget_studies()


def _may_pass(out: OutFolder, skipped: Sequence[Skipped]) -> bool:
    """Whether the same command may find more: a file that can be read again, a model that is whole again."""
    found = bool(passing_notes(out.notes)) or any(one.reason == UNREADABLE for one in skipped)
    if found:
        print("something could not be read or scored for now: the same command tries again")
    return found


def _score(job: _Job, chosen: Sequence[PlannedSeries], workers: Workers) -> None:
    left = [series for series in chosen if read_score(job.out.notes, series.key) is None]
    total = sum(len(series.files) for series in chosen)
    done = total - sum(len(series.files) for series in left)
    if done:
        print(f"{done:,} of {counted(total, 'slice')} scored before")
    scoring = _scoring(job, left, workers)
    with tqdm(total=total, initial=done, desc="scoring", unit="slice") as progress, closing(scoring):
        for count in scoring:
            progress.update(count)


def _score_instead(job: _Job, studies: Sequence[Study], workers: Workers) -> list[Study]:
    """Where no slice of a study's chosen series can be read, score its next one; return the studies as scored."""
    now = list(studies)
    while True:
        again = [
            place
            for place, study in enumerate(now)
            if study.spare and (_why_unreadable(job, study) is not None)
        ]
        if not again:
            return now
        for place in again:
            now[place] = now[place].instead(_why_unreadable(job, now[place]) or "")
        print(
            f"{counted(len(again), 'study', 'studies')}: the series chosen first can't be read, the next one is scored"
        )
        _score(job, [series for place in again for series in now[place].series], workers)


def _why_unreadable(job: _Job, study: Study) -> str | None:
    """The first reason, where not one slice of the study's series can be read; None where one can."""
    scores = [read_score(job.out.notes, series.key) for series in study.series]
    known = [score for score in scores if score is not None]
    if any(len(score.usable) for score in known):
        return None
    return next((error for score in known for error in score.errors if error), None)


def _scoring(job: _Job, left: Sequence[PlannedSeries], workers: Workers) -> Generator[int, None, None]:
    if left and job.options.engine == "spark":
        from ich_mlflow.prediction.engine_spark import score_on_spark

        yield from score_on_spark(
            left,
            job.model.specification,
            job.model.uri,
            job.out.notes,
            master=job.options.spark_master,
        )
    else:
        yield from score_locally(left, workers, job.out.notes)


def _results(job: _Job, studies: Sequence[Study]) -> list[StudyResult]:
    results = []
    for study in studies:
        scores = {series.key: read_score(job.out.notes, series.key) for series in study.series}
        known = {key: score for key, score in scores.items() if score is not None}
        results.append(judge(study, known, job.answerer, job.asked))
    return results


def _make(job: _Job, results: Sequence[StudyResult], workers: Workers) -> None:
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


def _write(
    job: _Job, results: Sequence[StudyResult], skipped: Sequence[Skipped], studies: Sequence[Study]
) -> None:
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


def _note(job: _Job, results: Sequence[StudyResult]) -> None:
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


def _summary(
    job: _Job,
    results: Sequence[StudyResult],
    reasons: Counter[str],
    *,
    num_files: int,
    num_series: int,
    seconds: float,
) -> dict[str, Any]:
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


def _log(run: Run, summary: dict[str, Any]) -> None:
    run.metrics({f"predict/{name}": count for name, count in summary["counts"].items()})
    run.metrics({f"predict/left_out/{reason}": count for reason, count in summary["left_out"].items()})
    run.metrics({"predict/seconds_to_scores": summary["seconds_to_scores"]})


def _say(out: OutFolder, summary: dict[str, Any]) -> None:
    print(f"{_found(summary)}\n{out.path / PAGE}\n{NOTICE}")


def _found(summary: dict[str, Any]) -> str:
    counts = summary["counts"]
    return (
        f"{counted(counts['studies'], 'study', 'studies')}: {counts['flagged']:,} flagged, "
        # a summary that an earlier version wrote counts none
        f"{counts.get('uncertain', 0):,} uncertain, {counts['review']:,} for review, {counts['not_flagged']:,} not "
        f"flagged ({counted(counts['slices'], 'slice')}, {counts['slices_unusable']:,} unusable)"
    )


def _but(reasons: Counter[str]) -> str:
    if not reasons:
        return ""
    said = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in reasons.most_common())
    return f" (left out: {said})"


def _of_archives(skipped: Sequence[Skipped]) -> str:
    """What is wrong with the first archive that was not unpacked; '' where there is none."""
    return next((f" (an archive: {one.detail})" for one in skipped if one.reason == ARCHIVE), "")


def _why_not(studies: Sequence[Study]) -> str:
    """Why the other series are not scored, without the numbers and words that tell one from another."""
    whys = Counter(
        row.why.split(":")[0].split(" (")[0] for study in studies for row in study.rows if not row.chosen
    )
    said = "; ".join(f"{count:,} {why}" for why, count in whys.most_common())
    return f" (not: {said})" if said else ""

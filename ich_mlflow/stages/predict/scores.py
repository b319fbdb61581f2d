"""The chosen series scored, and what could not be for now."""

from collections.abc import Generator, Sequence
from contextlib import closing

from tqdm import tqdm

from ich_mlflow.intake.plan import PlannedSeries, Study
from ich_mlflow.intake.survey import UNREADABLE, Skipped
from ich_mlflow.prediction.engine_local import Workers, score_locally
from ich_mlflow.prediction.out_folder import OutFolder
from ich_mlflow.prediction.score import passing_notes, read_score
from ich_mlflow.prediction.verdict import StudyResult, judge
from ich_mlflow.stages.predict.job import Job
from ich_mlflow.system.counting import counted


def try_again(out: OutFolder) -> None:
    """Forget what could not be done for now, by a start before, and what was made of it."""
    passing = passing_notes(out.notes)
    for path in passing:
        path.unlink()
    if passing:
        print(f"{counted(len(passing), 'part')} of it could not be done before: tried again")
        out.forget_studies()


def may_pass(out: OutFolder, skipped: Sequence[Skipped]) -> bool:
    """Whether the same command may find more: a file that can be read again, a model that is whole again."""
    found = bool(passing_notes(out.notes)) or any(one.reason == UNREADABLE for one in skipped)
    if found:
        print("something could not be read or scored for now: the same command tries again")
    return found


def score_series_of(job: Job, chosen: Sequence[PlannedSeries], workers: Workers) -> None:
    """Score those series that have no note of it yet, with progress."""
    left = [series for series in chosen if read_score(job.out.notes, series.key) is None]
    total = sum(len(series.files) for series in chosen)
    done = total - sum(len(series.files) for series in left)
    if done:
        print(f"{done:,} of {counted(total, 'slice')} scored before")
    scoring = _scoring(job, left, workers)
    with tqdm(total=total, initial=done, desc="scoring", unit="slice") as progress, closing(scoring):
        for count in scoring:
            progress.update(count)


def score_instead(job: Job, studies: Sequence[Study], workers: Workers) -> list[Study]:
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
        score_series_of(job, [series for place in again for series in now[place].series], workers)


def _why_unreadable(job: Job, study: Study) -> str | None:
    """The first reason, where not one slice of the study's series can be read; None where one can."""
    scores = [read_score(job.out.notes, series.key) for series in study.series]
    known = [score for score in scores if score is not None]
    if any(len(score.usable) for score in known):
        return None
    return next((error for score in known for error in score.errors if error), None)


def _scoring(job: Job, left: Sequence[PlannedSeries], workers: Workers) -> Generator[int, None, None]:
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


def results_of(job: Job, studies: Sequence[Study]) -> list[StudyResult]:
    """What is said of each study, put together from the notes of its series."""
    results = []
    for study in studies:
        scores = {series.key: read_score(job.out.notes, series.key) for series in study.series}
        known = {key: score for key, score in scores.items() if score is not None}
        results.append(judge(study, known, job.answerer, job.asked))
    return results

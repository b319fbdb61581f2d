"""Score a model on patients it has not seen: with compare the place where test data is read."""

from pathlib import Path

import pandas as pd

from ich_mlflow.commands import next_command
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.errors import DataError
from ich_mlflow.evaluation.assess import Assessment, assess, difference, null_model_column
from ich_mlflow.evaluation.counts import EXAMS, SLICES
from ich_mlflow.evaluation.logged import AUC, headline
from ich_mlflow.evaluation.metrics import MACRO
from ich_mlflow.evaluation.text import shown, with_interval
from ich_mlflow.labels import ANY
from ich_mlflow.parameters import AUTO, typed
from ich_mlflow.stages.common.evaluation import Evaluated, caveats_of
from ich_mlflow.stages.common.results import (
    EXAM_PREFIX,
    PREFIX,
    REPORT_FILE,
    log_metrics,
    log_predictions,
    log_test_set,
    operating_point_table,
)
from ich_mlflow.stages.common.scoring import (
    LoadedModel,
    Scored,
    champion_name,
    expect_unseen,
    load_model,
    say_not_known,
    score,
)
from ich_mlflow.stages.common.stored_sets import NO_LABELS, describe, label_level
from ich_mlflow.stages.evaluate.abstention import log_abstention
from ich_mlflow.stages.evaluate.blood import log_blood
from ich_mlflow.stages.evaluate.figures import log_figures
from ich_mlflow.stages.evaluate.heat_maps import log_heat_maps
from ich_mlflow.stages.evaluate.model_card import is_own_data
from ich_mlflow.stages.evaluate.options import EvaluateOptions
from ich_mlflow.stages.evaluate.report import log_report
from ich_mlflow.stages.evaluate.subgroups import log_subgroups
from ich_mlflow.stages.evaluate.submission import expect_all_labels, log_submission
from ich_mlflow.stages.evaluate.two_parts import two_parts
from ich_mlflow.stages.preprocess.options import PreprocessOptions
from ich_mlflow.stages.preprocess.preprocess import preprocess
from ich_mlflow.tracking.looks import look_of
from ich_mlflow.tracking.registry import logged_model_id
from ich_mlflow.tracking.run import Run, start_run


def evaluate(options: EvaluateOptions, *, nested: bool = False) -> Evaluated | None:
    """Log everything about the test split on a run of its own, linked to the model by tags.

    None with submission=true, where there is nothing to score against.
    """
    with start_run("evaluate", nested=nested) as run:
        run.params(typed(options), prefix="evaluate")
        model = load_model(options.model if options.model != AUTO else champion_name())
        run.tags({"ich.model_uri": model.uri, "ich.trained_run": model.trained_run})
        if options.submission:
            expect_all_labels(model.specification)
        # before minutes go into the data and the scoring
        baseline = load_model(options.baseline) if options.baseline != AUTO else None
        stored = _stored_set(options, model.trained_path)
        data = log_test_set(run, stored)
        run.call(f"{model.called} on {stored.manifest.get('source', '')}")
        if options.submission:
            log_submission(run, options, model.classifier, stored)
            return None
        evaluated = _evaluate(run, options, model, baseline, stored)
        figures = headline(evaluated.slices, evaluated.exams)
        run.metrics(figures, model_id=logged_model_id(model.uri), dataset=data)
        log_figures(run, evaluated)
        log_predictions(run, evaluated.scored)
        log_report(run, evaluated)
        run.describe(*_description(evaluated, stored))
        _say(evaluated)
        print(f"report: {run.artifact(REPORT_FILE)}")
        if not nested and is_own_data(evaluated):
            print(f"Promote it:           {next_command('promote', run=evaluated.trained_run)}")
        return evaluated


def _evaluate(
    run: Run, options: EvaluateOptions, model: LoadedModel, baseline: LoadedModel | None, stored: StoredSet
) -> Evaluated:
    if label_level(stored) == NO_LABELS:
        raise DataError(
            f"{stored.path} has no labels, expected a set to score against: pass -P source=rsna "
            "-P submission=true with the folder of RSNA 2019"
        )
    models = [model] if baseline is None else [model, baseline]
    not_known = tuple(dict.fromkeys(name for one in models for name in expect_unseen(one, stored)))
    if not_known:
        print(f"note: {say_not_known(not_known)}")
    print(f"evaluating {model.uri} on the test split of {stored.path} ({describe(stored)})")
    print(
        f"intervals come from {options.resamples:,} resamples of the patients: with many slices this takes "
        "minutes"
    )
    rule = _rule(options, model)
    scored = score(model.classifier, stored, rule=rule)
    slices, exams = _assess(run, scored, options.resamples)
    log_abstention(run, scored)
    look = look_of(model.trained_run, stored.digest, beside=[one.trained_run for one in models[1:]])
    run.tags(look.tags())
    return Evaluated(
        run_id=run.run_id,
        model_uri=model.uri,
        trained_run=model.trained_run,
        baseline_uri=None if baseline is None else baseline.uri,
        rule=rule,
        num_resamples=options.resamples,
        ancestry=model.ancestry,
        not_known=not_known,
        look=look,
        scored=scored,
        slices=slices,
        exams=exams,
        subgroups=log_subgroups(run, scored),
        differences={} if baseline is None else _compare(run, options, scored, baseline),
        pointing=log_heat_maps(
            run,
            model.classifier,
            scored,
            num_shown=options.heat_maps,
            num_resamples=options.resamples,
        ),
        two_parts=_log_two_parts(run, scored, slices, options.resamples),
        blood=log_blood(run, scored, num_resamples=options.resamples),
    )


def _rule(options: EvaluateOptions, model: LoadedModel) -> str:
    return model.specification.decides_by if options.operating_point == AUTO else options.operating_point


def _stored_set(options: EvaluateOptions, trained_path: str | None) -> StoredSet:
    """The set to evaluate on; where a source is named it is made, with all patients in its test split."""
    if options.source != AUTO:
        source = "rsna-test" if options.submission else options.source
        return preprocess(
            PreprocessOptions(
                source=source,
                data=options.data,
                columns=options.columns,
                out=options.out,
                workers=options.workers,
                # what can't be read gets the prevalence in a submission, so nothing is lost by going on
                quarantine_limit=1.0 if options.submission else options.quarantine_limit,
                external=True,
            ),
            nested=True,
        )
    if options.data != AUTO:
        return StoredSet.open(Path(options.data))
    if trained_path is None:
        raise DataError("the training run does not say which set it used: pass -P data=<a stored set>")
    return StoredSet.open(Path(trained_path))


def _assess(run: Run, scored: Scored, num_resamples: int) -> tuple[Assessment | None, Assessment]:
    """Assess slices and exams, and log metrics and tables of both."""
    found: dict[str, Assessment] = {}
    for unit, prefix, predictions, null_models in (
        (SLICES, PREFIX, scored.slices, scored.null_models),
        (EXAMS, EXAM_PREFIX, scored.exams, scored.exam_null_models),
    ):
        if predictions is None:
            continue
        assessment = assess(predictions, null_models=null_models, num_resamples=num_resamples)
        log_metrics(run, predictions, prefix=prefix)
        run.table(assessment.table(), f"tables/{PREFIX}_{unit}.json")
        run.table(operating_point_table(scored, unit), f"tables/{PREFIX}_{unit}_operating_points.json")
        found[unit] = assessment
    return found.get(SLICES), found[EXAMS]


def _log_two_parts(
    run: Run, scored: Scored, slices: Assessment | None, num_resamples: int
) -> pd.DataFrame | None:
    """Score detection and subtype apart where the network itself says what it thinks of any."""
    if slices is None or ANY not in scored.specification.labels:
        return None
    found = two_parts(slices, num_resamples=num_resamples)
    run.table(found, f"tables/{PREFIX}_detection_and_subtype.json")
    return found


def _compare(
    run: Run, options: EvaluateOptions, scored: Scored, baseline: LoadedModel
) -> dict[str, pd.DataFrame]:
    """Score the baseline on the same rows; log model minus baseline with intervals."""
    print(f"scoring the baseline {baseline.uri}")
    other = score(baseline.classifier, scored.stored, rule=_rule(options, baseline))
    run.tags({"ich.baseline_uri": baseline.uri, "ich.baseline_run": baseline.trained_run})
    found = {}
    for unit, prefix, mine, theirs in (
        (SLICES, PREFIX, scored.slices, other.slices),
        (EXAMS, EXAM_PREFIX, scored.exams, other.exams),
    ):
        if mine is None or theirs is None:
            continue
        table = difference(mine, theirs, num_resamples=options.resamples)
        run.table(table, f"tables/{PREFIX}_{unit}_difference.json")
        rows = table[(table["metric"] == AUC) & table["label"].isin((ANY, MACRO))].itertuples()
        run.metrics({f"{prefix}/{row.metric}_difference/{row.label}": row.difference for row in rows})
        found[unit] = table
    return found


def _description(evaluated: Evaluated, stored: StoredSet) -> tuple[str, ...]:
    """Which model, on what, what was found, and the command that comes next."""
    found = (
        f"**{one.predictions.unit.capitalize()}**: {'; '.join(summary_lines(one)[:2])}; mean {_mean_auc(one)}"
        for one in (evaluated.slices, evaluated.exams)
        if one is not None
    )
    return (
        f"**Model**: `{evaluated.model_uri}`, trained in run `{evaluated.trained_run}`",
        f"**Test split**: {stored.path} ({describe(stored)}); {evaluated.look.said}",
        *found,
        f"**Next**: `{next_command('promote', run=evaluated.trained_run)}`, and report.html among the artifacts",
    )


def _mean_auc(assessment: Assessment) -> str:
    name = f"{AUC}/{MACRO}"
    interval = assessment.interval(name)
    return f"AUC {with_interval(assessment.values.get(name, float('nan')), interval.low, interval.high)}"


def _say(evaluated: Evaluated) -> None:
    """Print what decides first: any bleed, with its rates at the model's operating point; then each label's AUC."""
    look = evaluated.look
    print(f"{evaluated.model_uri} is {look.said} ({look.digest[:12]})")
    for assessment in (evaluated.slices, evaluated.exams):
        if assessment is None:
            continue
        print(f"{assessment.predictions.unit}, decided by {evaluated.rule} (95 % intervals over patients):")
        for line in summary_lines(assessment):
            print(f"  {line}")
    for unit, table in evaluated.differences.items():
        print(f"{unit}, minus {evaluated.baseline_uri} (paired): {_difference_said(table)}")
    for caveat in caveats_of(evaluated):
        print(f"note: {caveat}")


def _difference_said(table: pd.DataFrame) -> str:
    """Of the AUC of any and of the mean, with intervals."""
    rows = table[(table["metric"] == AUC) & table["label"].isin((ANY, MACRO))].itertuples()
    return ", ".join(f"AUC {row.label} {with_interval(row.difference, row.low, row.high)}" for row in rows)


def summary_lines(assessment: Assessment) -> list[str]:
    """Any bleed: AUC beside what doesn't look at the image, sensitivity, specificity. Then the AUC of each label."""
    rows = assessment.table().set_index(["metric", "label"])

    def said(metric: str, label: str) -> str:
        return with_interval(*rows.loc[(metric, label)][["value", "low", "high"]])

    def null_models(label: str) -> str:
        each = ((name, rows.loc[("auc", label)][null_model_column(name)]) for name in assessment.null_models)
        return ", ".join(f"{name} alone {shown(value)}" for name, value in each)

    labels = [label for label in assessment.predictions.labels if label != ANY]
    return [
        f"any bleed: AUC {said('auc', ANY)}; {null_models(ANY)}",
        f"any bleed: sensitivity {said('sensitivity', ANY)}, specificity {said('specificity', ANY)}",
        *(f"AUC {label:<18}{said('auc', label):<22}  {null_models(label)}" for label in (*labels, MACRO)),
    ]

"""Score several models on one test split and log them beside each other: one run, one table, one page."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from ich_mlflow.commands import LOOK_AT_RUNS, next_command
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.errors import DataError, ModelError, PromotionError
from ich_mlflow.evaluation.assess import Assessment, assess
from ich_mlflow.evaluation.comparison import comparison_table, lead, shared_labels
from ich_mlflow.figures.side_by_side import side_by_side_figure
from ich_mlflow.parameters import AUTO, typed
from ich_mlflow.report.render import report_html
from ich_mlflow.stages.common.names import registered_name
from ich_mlflow.stages.common.results import log_test_set
from ich_mlflow.stages.common.stored_sets import NO_LABELS, data_note, describe, label_level
from ich_mlflow.stages.compare.contenders import Contender, Entries, contender, entries, scored
from ich_mlflow.stages.compare.metrics import metrics_of
from ich_mlflow.stages.compare.options import CompareOptions
from ich_mlflow.stages.compare.page import PAGE_FILE, Comparison, page_of
from ich_mlflow.stages.compare.words import figure_rows, look_lines, terminal_table
from ich_mlflow.tracking.looks import BASELINE_TAG, LOOK_TAG, SEVERAL_TAG, looks_of
from ich_mlflow.tracking.registry import CHAMPION, alias_version, run_parameters, training_run
from ich_mlflow.tracking.run import Run, start_run
from ich_mlflow.tracking.versions import SOURCE_PARAM, trained_run_of

TABLE = "compare"


def compare(options: CompareOptions, *, nested: bool = False) -> Comparison:
    """Log the comparison on a run of its own, linked to each model by tags."""
    with start_run("compare", nested=nested) as run:
        run.params(typed(options), prefix="compare")
        named = entries(options)
        stored = _stored_set(options, named)
        # before minutes go into the scoring of the first
        models = _distinct(
            [contender(one, stored, operating_point=options.operating_point) for one in named.models]
        )
        labels = _labels(models)
        baseline = models[named.models.index(named.baseline)]
        _log_what(run, stored, models, baseline)
        found = _compare(run, options, stored, models, baseline, labels)
        _log_found(run, found)
        _say(found)
        print(f"page: {run.artifact(PAGE_FILE)}")
        return found


def _stored_set(options: CompareOptions, named: Entries) -> StoredSet:
    if options.data != AUTO:
        stored = StoredSet.open(Path(options.data))
    else:
        path = run_parameters(named.first.trained_run).get("data.path")
        if path is None:
            raise DataError(
                f"the training run of {named.first.said} does not say which set it used: pass -P data=<a stored set>"
            )
        stored = StoredSet.open(Path(path))
    if label_level(stored) == NO_LABELS:
        raise DataError(
            f"{stored.path} has no labels, expected a set to score against: pass another -P data="
        )
    return stored


def _distinct(models: Sequence[Contender]) -> tuple[Contender, ...]:
    """The models, a name told apart by a number where two are called alike."""
    names = [one.name for one in models]
    return tuple(
        replace(one, name=f"{one.name} ({names[:place].count(one.name) + 1})")
        if one.name in names[:place]
        else one
        for place, one in enumerate(models)
    )


def _labels(models: Sequence[Contender]) -> tuple[str, ...]:
    """The findings that all have. Raises ModelError where there is none."""
    labels = shared_labels([one.specification.findings for one in models])
    if not labels:
        said = "; ".join(f"{one.name} {', '.join(one.specification.findings)}" for one in models)
        raise ModelError(
            f"the models have no label in common ({said}): expected one at least; compare others with each other"
        )
    return labels


def _log_what(run: Run, stored: StoredSet, models: Sequence[Contender], baseline: Contender) -> None:
    """The set, the models, and the run's name."""
    log_test_set(run, stored)
    for number, one in enumerate(models, 1):
        run.tags({f"ich.model_uri.{number}": one.uri, f"{SEVERAL_TAG}{number}": one.trained_run})
    run.tags({"ich.baseline_uri": baseline.uri, BASELINE_TAG: baseline.trained_run})
    run.call(f"{' vs '.join(one.name for one in models)} on {stored.manifest['source']}")


def _compare(
    run: Run,
    options: CompareOptions,
    stored: StoredSet,
    models: Sequence[Contender],
    baseline: Contender,
    labels: tuple[str, ...],
) -> Comparison:
    print(f"comparing {len(models)} models on the test split of {stored.path} ({describe(stored)})")
    print(
        f"intervals come from {options.resamples:,} resamples of the patients: with many slices this takes "
        "minutes for each model"
    )
    assessments: dict[str, dict[str, Assessment]] = {}
    for number, one in enumerate(models, 1):
        print(f"scoring {one.name} ({number} of {len(models)}), decided by {one.rule}")
        for unit, predictions in scored(one, stored, labels).items():
            found = assess(predictions, num_resamples=options.resamples)
            assessments.setdefault(unit, {})[one.name] = found
    looks = looks_of([one.trained_run for one in models], stored.digest)
    return Comparison(
        run_id=run.run_id,
        options=options,
        stored=stored,
        contenders=tuple(models),
        baseline=baseline.name,
        left_out={
            label: without
            for label in dict.fromkeys(label for one in models for label in one.specification.findings)
            if (without := tuple(one.name for one in models if label not in one.specification.findings))
        },
        looks={one.name: look for one, look in zip(models, looks, strict=True)},
        assessments=assessments,
        tables={unit: comparison_table(each, baseline=baseline.name) for unit, each in assessments.items()},
        leads={unit: lead(each) for unit, each in assessments.items()},
    )


def _log_found(run: Run, found: Comparison) -> None:
    look = next(iter(found.looks.values()))
    run.tags({name: value for name, value in look.tags().items() if name != LOOK_TAG})
    for number, one in enumerate(found.looks.values(), 1):
        run.tags({f"{LOOK_TAG}.{number}": one.said})
    run.tags({"ich.answer": found.answers[0]})
    uris = {one.name: one.uri for one in found.contenders}
    table = pd.concat(found.tables.values(), ignore_index=True)
    table.insert(4, "uri", table["model"].map(uris))
    run.table(table, f"tables/{TABLE}.json")
    run.frame(table, f"{TABLE}.csv")
    run.metrics(metrics_of(found.assessments, baseline=found.baseline))
    num = len(found.contenders)
    for unit, rows in found.tables.items():
        note = (
            "hollow: the baseline; bold: the paired interval excludes 0, not corrected for the number of models, "
            f"labels and metrics; test split, {data_note(found.stored)}"
        )
        figure = side_by_side_figure(
            figure_rows(rows),
            baseline=found.baseline,
            metric_name="AUC",
            title=f"AUC of {unit}: {num} models side by side",
            note=note,
        )
        run.figure(figure, f"figures/{TABLE}_{unit}.png")
    pictures = {unit: run.pictures[f"figures/{TABLE}_{unit}.png"] for unit in found.tables}
    run.text(report_html(page_of(found, pictures)), PAGE_FILE)
    run.describe(
        *(f"**{text}**" for text in found.answers),
        f"**Test split**: {describe(found.stored)}",
        f"**Next**: `{_next(found)}`",
    )


def _say(found: Comparison) -> None:
    """Print the answer first, then the figures, where the page is, and what comes next."""
    for text in found.answers:
        print(text)
    print(terminal_table(found.tables, found.names))
    for line in look_lines(found.looks):
        print(f"{line} ({found.stored.digest[:12]})")
    for note in found.notes:
        print(f"note: {note}")
    print(f"next: {_next(found)}")


def _next(found: Comparison) -> str:
    """What to type: promote the best where that is a train run and no champion, else look at the runs."""
    best = next((one for one in found.contenders if found.lead and one.name == found.lead.best), None)
    if best is not None and found.lead and found.lead.difference and _can_be_promoted(best):
        return next_command("promote", run=best.trained_run)
    return LOOK_AT_RUNS


def _can_be_promoted(one: Contender) -> bool:
    try:
        trained = training_run(one.trained_run)
        num_classes = trained.params.get("hp.num_classes")
        if num_classes is None:
            return False
        name = registered_name(int(num_classes), trained.params.get(SOURCE_PARAM, ""))
        champion = alias_version(name, CHAMPION)
    except PromotionError:  # no train run, or nobody answers
        return False
    return champion is None or trained_run_of(name, champion) != one.trained_run

"""Recalibrate a registered version on local exams: a new version of the same networks, and what that changes."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from ich_mlflow.commands import LOOK_AT_RUNS, next_command
from ich_mlflow.dataset.split import TEST
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.errors import ModelError
from ich_mlflow.evaluation.assess import Predictions
from ich_mlflow.evaluation.counts import EXAMS, SLICES
from ich_mlflow.figures.reliability import reliability_figure
from ich_mlflow.labels import scheme_of_labels
from ich_mlflow.models.ancestry import Ancestry
from ich_mlflow.parameters import AUTO, typed
from ich_mlflow.report.render import report_html
from ich_mlflow.serving.classifier import Specification
from ich_mlflow.serving.packaging import log_again
from ich_mlflow.stages.common.names import MODEL_NAMES
from ich_mlflow.stages.common.reference import reference_of
from ich_mlflow.stages.common.scoring import LoadedModel, champion_name, expect_unseen, load_model
from ich_mlflow.stages.common.stored_sets import data_note, describe, learned_from
from ich_mlflow.stages.recalibrate.abstention import abstaining
from ich_mlflow.stages.recalibrate.judged import Judged, judged
from ich_mlflow.stages.recalibrate.local import LocalExams, expect_enough, local_exams, scored_units
from ich_mlflow.stages.recalibrate.options import RecalibrateOptions
from ich_mlflow.stages.recalibrate.page import PAGE_FILE, Recalibration, page_of
from ich_mlflow.stages.recalibrate.words import metrics_of, terminal_table
from ich_mlflow.tracking.registry import MODEL_URI_TAG, run_parameters
from ich_mlflow.tracking.run import NOTICE, Run, dataset_of, start_run
from ich_mlflow.tracking.versions import RUN_TAG, SOURCE_PARAM, register_beside, source_of

TABLE = "recalibrate"
#: Of the run that trained the networks: what promote and evaluate ask a model's run for.
_INHERITED = ("hp.", "data.", "weights.")
_FOR_THE_VERSION = ("hp.recipe", "hp.num_classes", "data.source", "data.digest", "weights.start")


@dataclass(frozen=True, kw_only=True)
class Registered:
    """A registered version, loaded."""

    name: str
    version: str
    model: LoadedModel


def recalibrate(options: RecalibrateOptions, *, nested: bool = False) -> str:
    """Register the new version with the alias candidate; return its URI."""
    with start_run("recalibrate", nested=nested) as run:
        run.params(typed(options), prefix="recalibrate")
        registered = _registered(options.model)
        model, stored = registered.model, StoredSet.open(Path(options.data))
        local = local_exams(stored, model.specification, test_split=options.test_split)
        not_known = expect_unseen(model, stored, rows=local.rows)
        expect_enough(local, options.min_patients)
        inherited = _log_what(run, registered, local)
        found = _judge(run, options, model, local, not_known)
        changed = _specification(model.specification, found)
        ancestry = _ancestry(model.ancestry, local, run)
        uri, digest = log_again(
            model.classifier, changed, ancestry, name=registered.name, reference=_reference(found)
        )
        run.tags({MODEL_URI_TAG: uri, "ich.network_digest": digest, "ich.answer": found.answers[-1]})
        _log_found(run, found, digest)
        version = register_beside(
            uri,
            model_name=registered.name,
            tags={
                **{f"ich.{name}": inherited[name] for name in _FOR_THE_VERSION if name in inherited},
                RUN_TAG: run.run_id,
                "ich.recalibrated_from": model.uri,
                "ich.recalibrated_on": changed.recalibrated_on,
                "ich.network_digest": digest,
            },
            description=_description(found, digest),
        )
        _say(run, found, registered, version, digest)
        return f"models:/{registered.name}/{version}"


def _judge(
    run: Run, options: RecalibrateOptions, model: LoadedModel, local: LocalExams, not_known: tuple[str, ...]
) -> Recalibration:
    """Score the local exams, choose anew on them, and compare."""
    specification = model.specification
    rule = specification.decides_by if options.operating_point == AUTO else options.operating_point
    labels = local.with_enough(options.min_patients)
    print(f"scoring {describe(local.stored)} with {model.short}: {local.num_patients} patients take part")
    units = {
        unit.name: judged(unit, local.labels, recalibrated=labels, rule=rule, num_resamples=options.resamples)
        for unit in scored_units(model.classifier, local)
    }
    exams = units[EXAMS]
    return Recalibration(
        run_id=run.run_id,
        options=options,
        local=local,
        short=model.short,
        uri=model.uri,
        not_known=not_known,
        rule=rule,
        units=units,
        abstaining=abstaining(
            specification.abstention,
            exams.unit,
            local.labels,
            was=exams.flagged_before,
            now=exams.flagged_after,
        ),
    )


def _registered(text: str) -> Registered:
    """The version that was named. Raises ModelError where it is none, or can't be read."""
    model = load_model(champion_name() if text == AUTO else text)
    named = re.fullmatch(r"models:/([^/]+)/(\d+)", model.uri)
    if not named:
        raise ModelError(
            f"model is {text}, which is not registered, expected a registered version such as ich-5class@champion: "
            "register it first, by promote"
        )
    return Registered(name=named.group(1), version=named.group(2), model=model)


def _log_what(run: Run, registered: Registered, local: LocalExams) -> dict[str, str]:
    """Log whom and what on; return what the run has of the training run, as if it were that."""
    model, stored = registered.model, local.stored
    run.params(
        {"path": stored.path.resolve(), "digest": stored.digest, "source": stored.manifest["source"]},
        prefix="local",
    )
    run.input(
        dataset_of(
            stored.table.iloc[local.rows],
            source=stored.path,
            name=f"{stored.manifest['source']}-local",
            digest=stored.digest,
        ),
        context="recalibration",
    )
    specification, own = model.specification, run_parameters(model.trained_run)
    inherited = {
        SOURCE_PARAM: source_of(registered.name, registered.version),
        "data.digest": specification.data_digest,
        "hp.num_classes": str(scheme_of_labels(specification.labels).num_classes),
        **{name: value for name, value in own.items() if name.startswith(_INHERITED)},
    }
    for prefix in _INHERITED:
        values = {
            name.removeprefix(prefix): value for name, value in inherited.items() if name.startswith(prefix)
        }
        run.params(values, prefix=prefix.rstrip("."))
    run.tags({"ich.recalibrated_from": model.uri, "ich.recalibrated_run": model.trained_run})
    run.call(f"{model.short} on {stored.manifest['source']}")
    return inherited


def _specification(before: Specification, found: Recalibration) -> Specification:
    """The version's, with what was chosen here."""
    stands = {SLICES: before.slices, EXAMS: before.exams}
    chosen = stands | {name: one.chosen for name, one in found.units.items()}
    return replace(
        before,
        slices=chosen[SLICES],
        exams=chosen[EXAMS],
        decides_by=found.rule,
        abstention=found.abstaining.after,
        recalibrated_on=f"{found.local.num_patients} patients of {describe(found.local.stored)}",
    )


def _reference(found: Recalibration) -> str:
    """What the new version says of the local exams: the monitor's reference that travels in it."""
    local, one = found.local, found.units[EXAMS]
    unit = one.unit
    assert unit.study_uids is not None
    exams = Predictions(
        labels=local.labels,
        targets=unit.targets,
        probabilities=one.chosen.calibrated(unit.scores),
        thresholds=one.chosen.thresholds(found.rule),
        patients=unit.patients,
        unit=EXAMS,
        scores=unit.scores,
    )
    return reference_of(
        local.stored,
        unit.study_uids,
        exams,
        rule=found.rule,
        abstention=found.abstaining.after,
        distances=unit.distances,
    )


def _ancestry(before: Ancestry, local: LocalExams, run: Run) -> Ancestry:
    """Patients who took part in a choice are no test patients any more."""
    return before.then(learned_from(local.stored, by=f"recalibration in run {run.run_id}", rows=local.rows))


def _log_found(run: Run, found: Recalibration, digest: str) -> None:
    table = pd.concat([one.table for one in found.units.values()], ignore_index=True)
    run.table(table, f"tables/{TABLE}.json")
    run.frame(table, f"{TABLE}.csv")
    run.metrics(metrics_of(found.units))
    for name, one in found.units.items():
        run.figure(_figure(one, data_note(found.local.stored)), f"figures/{TABLE}_{name}.png")
    pictures = {name: run.pictures[f"figures/{TABLE}_{name}.png"] for name in found.units}
    run.text(report_html(page_of(found, pictures, digest=digest)), PAGE_FILE)


def _figure(one: Judged, note: str) -> Figure:
    return reliability_figure(
        one.targets,
        one.after,
        one.labels,
        before=one.before,
        unit=one.unit.name,
        title=f"Calibration of {one.unit.name} before and after, cross-fitted",
        note=note,
    )


def _description(found: Recalibration, digest: str) -> str:
    """Of the version, in the registry."""
    lines = (
        f"{found.uri} recalibrated on {found.local.num_patients} patients of {describe(found.local.stored)}. The "
        f"networks are the same: SHA-256 {digest}.",
        *found.answers,
        f"{NOTICE} Its page is {PAGE_FILE} of run {found.run_id}.",
    )
    return "\n\n".join(lines)


def _say(run: Run, found: Recalibration, registered: Registered, version: str, digest: str) -> None:
    """Print the figures, what was made, and what comes next; keep the same with the run."""
    made = f"{registered.name} version {version} is registered with the alias candidate"
    following = _next(found, registered.name)
    print(terminal_table(found.units))
    for text in (*found.answers, found.abstaining.said, *(f"note: {note}" for note in found.notes)):
        print(text)
    print(f"{made}; the networks are those of {registered.model.short} (SHA-256 {digest[:12]})")
    print(f"next: {following}")
    print(f"page: {run.artifact(PAGE_FILE)}")
    run.tags({"ich.to": version})
    run.describe(
        *(f"**{text}**" for text in found.answers),
        f"**Local exams**: {found.local.num_patients} patients of {describe(found.local.stored)}",
        f"**Made**: {made}",
        f"**Next**: `{following}`",
    )


def _next(found: Recalibration, name: str) -> str:
    """Promote, on the local patients that were left where there are some."""
    if name not in MODEL_NAMES:
        return LOOK_AT_RUNS
    stored, told = found.local.stored, {"run": found.run_id}
    if not found.options.test_split and len(stored.rows(TEST)):
        told |= {"data": str(stored.path), "same_data": "false"}
    return next_command("promote", **told)

"""Make a training run's model the champion of its class scheme if it passes every gate; roll back; list all that."""

import textwrap
from dataclasses import replace

import pandas as pd

from ich_mlflow.errors import PromotionError, PromotionRefused
from ich_mlflow.labels import class_scheme
from ich_mlflow.parameters import AUTO, typed
from ich_mlflow.report.render import as_description
from ich_mlflow.serving.smoke_test import serving_fault
from ich_mlflow.stages.common.evaluation import Evaluated
from ich_mlflow.stages.common.results import CARD_FILE
from ich_mlflow.stages.common.scoring import LoadedModel, load_model
from ich_mlflow.stages.evaluate.evaluate import evaluate
from ich_mlflow.stages.evaluate.options import EvaluateOptions
from ich_mlflow.stages.promote.examination import Examined, examine
from ich_mlflow.stages.promote.gates import Decision, Facts, Limits, decide
from ich_mlflow.stages.promote.options import PromoteOptions
from ich_mlflow.system.provenance import who
from ich_mlflow.tracking.audit import PROMOTED, REFUSED, ROLLED_BACK, begin_record, finish_record, history
from ich_mlflow.tracking.lock import registry_lock
from ich_mlflow.tracking.registry import (
    CHAMPION,
    TrainedRun,
    alias_version,
    best_training_run,
    run_artifact,
    training_run,
)
from ich_mlflow.tracking.run import Run, start_run
from ich_mlflow.tracking.versions import (
    REPLACED,
    Intent,
    move_champion,
    recover,
    refuse,
    register_candidate,
    rollback_intent,
    runs_rolled_back,
    version_of,
)


def promote(options: PromoteOptions) -> None:
    """What `-e promote` does. Raises PromotionRefused where the candidate fails a gate."""
    if options.history:
        print(history_text(_model_name(options) if options.num_classes != AUTO else None))
    elif options.rollback:
        rollback(options)
    else:
        decision = promote_candidate(options)
        if not decision.promote:
            failed = ", ".join(decision.failed)
            raise PromotionRefused(f"refused because of {failed}, as said above; the champion stays")


def promote_candidate(
    options: PromoteOptions, *, nested: bool = False, evaluated: Evaluated | None = None
) -> Decision:
    """Examine the candidate, decide, act, record. evaluated: of the candidate, where that was done before."""
    candidate = _candidate(options)
    num_classes = int(candidate.params["hp.num_classes"])
    if options.num_classes not in (AUTO, str(num_classes)):
        raise PromotionError(
            f"run {candidate.run_id} predicts {num_classes} classes, expected num_classes={options.num_classes}: pass "
            "another -P run=, or leave out -P num_classes="
        )
    name = class_scheme(num_classes).model_name
    with start_run("promote", nested=nested) as run:
        run.params(typed(options), prefix="promote")
        run.tags({"ich.trained_run": candidate.run_id, "ich.model": name})
        _put_right(name)
        compared_with = alias_version(name, CHAMPION)
        champion = None if compared_with is None else load_model(f"models:/{name}/{compared_with}")
        model = load_model(candidate.model_uri)
        evaluated = evaluated or _evaluate(options, candidate)
        shown = f"run {candidate.name} ({candidate.run_id[:8]})"
        examined = examine(options, candidate, model, evaluated, champion, name=shown)
        if len(examined.differences):
            run.table(examined.differences, "tables/difference.json")
        with registry_lock(name, who=who()):
            return _Act(options, run, name, candidate, model, evaluated, examined).decide(compared_with)


def rollback(options: PromoteOptions, *, nested: bool = False) -> str:
    """Make the champion before this one the champion again; return its version."""
    name = _model_name(options)
    with start_run("rollback", nested=nested) as run, registry_lock(name, who=who()):
        for line in recover(name, finish_record):
            print(line)
        intent = rollback_intent(name)
        record = begin_record(
            action=ROLLED_BACK,
            model_name=name,
            before=intent.before,
            after=intent.after,
            who=who(),
            why=_given(options) or "no reason given",
            run_id=run.run_id,
        )
        move_champion(name, replace(intent, record=record), finish_record)
        run.tags(
            {"ich.model": name, "ich.from": intent.before, "ich.to": intent.after, "ich.audit_run": record}
        )
        print(
            f"{name}: version {intent.after} is the {CHAMPION} again, version {intent.before} is rolled back"
        )
        return intent.after


def history_text(model_name: str | None) -> str:
    """The audit trail, the newest last: a line a record, and below it why."""
    records = history(model_name)
    if records.empty:
        return "no promotion, refusal or rollback is recorded yet"
    return "\n".join(
        f"{row['when']}  {row['action']:<12}  {row['model']}  {row['from']} → {row['to']}  by {row['who']}\n"
        + textwrap.fill(row["why"], 110, initial_indent="    ", subsequent_indent="    ")
        for row in records.to_dict("records")
    )


class _Act:
    """What happens under the lock."""

    def __init__(
        self,
        options: PromoteOptions,
        run: Run,
        name: str,
        candidate: TrainedRun,
        model: LoadedModel,
        evaluated: Evaluated,
        examined: Examined,
    ) -> None:
        self._options, self._run, self._name = options, run, name
        self._candidate, self._model = candidate, model
        self._evaluated, self._examined = evaluated, examined

    def decide(self, compared_with: str | None) -> Decision:
        """compared_with: version of the champion that the candidate was compared with."""
        for line in recover(self._name, finish_record):
            print(line)
        name, champion = self._name, alias_version(self._name, CHAMPION)
        facts = replace(self._examined.facts, registration=self._registration(compared_with, champion))
        if facts.registration:  # nothing is registered twice, or beside what came in between
            version = version_of(name, self._candidate.model_uri) or ""
        else:
            version = register_candidate(
                self._candidate, model_name=name, tags=self._tags(), description=self._description()
            )
            facts = self._tried(facts, version)
        decision = decide(facts, _limits(self._options), replace=self._options.replace)
        self._log(decision)
        if decision.promote:
            self._promote(decision, champion or "", version)
        else:
            self._refuse(decision, champion or "", version)
        return decision

    def _registration(self, compared_with: str | None, champion: str | None) -> str:
        if compared_with != champion:
            return (
                f"the {CHAMPION} became version {champion} while version {compared_with} was compared with: run "
                "promote again"
            )
        if champion is not None and version_of(self._name, self._candidate.model_uri) == champion:
            return f"version {champion}, the {CHAMPION}, is this very model"
        return ""

    def _tried(self, facts: Facts, version: str) -> Facts:
        if not self._options.smoke:
            return facts
        uri = f"models:/{self._name}/{version}"
        print(f"serving {uri} to see that it answers")
        return replace(facts, smoke=serving_fault(uri, self._model.classifier, self._examined.dicom))

    def _log(self, decision: Decision) -> None:
        self._run.dictionary(decision.to_dict(), "decision.json")
        self._run.table(pd.DataFrame(decision.to_dict()["gates"]), "tables/gates.json")
        self._run.tags({"ich.promoted": decision.promote, "ich.why": decision.why()[:5000]})
        print(
            f"{self._name}: {self._examined.facts.candidate} against {self._examined.facts.champion or 'nobody'}"
        )
        print("\n".join(decision.lines()))

    def _promote(self, decision: Decision, before: str, version: str) -> None:
        record = self._record(PROMOTED, decision, before, version)
        intent = Intent(before=before, after=version, previous=before, state_before=REPLACED, record=record)
        move_champion(self._name, intent, finish_record)
        print(f"{self._name} version {version} is the {CHAMPION} now: models:/{self._name}@{CHAMPION}")

    def _refuse(self, decision: Decision, before: str, version: str) -> None:
        if version and version != before:
            refuse(self._name, version, decision.why())
        finish_record(self._record(REFUSED, decision, before, version))
        stays = f"version {before} stays the {CHAMPION}" if before else f"there is no {CHAMPION}"
        print(f"{self._name}: refused; {stays}")

    def _record(self, action: str, decision: Decision, before: str, version: str) -> str:
        given = _given(self._options)
        record = begin_record(
            action=action,
            model_name=self._name,
            before=before,
            after=version,
            who=who(),
            why=f"{given}. {decision.why()}" if given else decision.why(),
            run_id=self._run.run_id,
            trained_run=self._candidate.run_id,
            details=decision.to_dict(),
        )
        self._run.tags({"ich.from": before, "ich.to": version, "ich.audit_run": record})
        return record

    def _tags(self) -> dict[str, str]:
        wanted = ("hp.recipe", "hp.num_classes", "data.source", "data.digest", "weights.start")
        params = self._candidate.params
        facts = self._examined.facts
        auc = {} if facts.macro_auc is None else {"ich.test/auc/macro": f"{facts.macro_auc:.4f}"}
        return {
            **{f"ich.{name}": params[name] for name in wanted if name in params},
            **auc,
            "ich.promote_run": self._run.run_id,
        }

    def _description(self) -> str:
        card = run_artifact(self._evaluated.run_id, CARD_FILE)
        assert card is not None
        return as_description(card.decode(), run_id=self._evaluated.run_id)


def _model_name(options: PromoteOptions) -> str:
    return class_scheme(5 if options.num_classes == AUTO else int(options.num_classes)).model_name


def _given(options: PromoteOptions) -> str:
    return "" if options.reason == AUTO else options.reason.strip().rstrip(".")


def _limits(options: PromoteOptions) -> Limits:
    return Limits(
        require=options.require,
        margin=options.margin,
        label_margin=options.label_margin,
        calibration_margin=options.calibration_margin,
        max_latency_ms=options.max_latency_ms,
        max_size_mb=options.max_size_mb,
        same_data=options.same_data,
    )


def _candidate(options: PromoteOptions) -> TrainedRun:
    if options.run != AUTO:
        return training_run(options.run)
    num_classes = 5 if options.num_classes == AUTO else int(options.num_classes)
    return best_training_run(
        num_classes=num_classes,
        metric=options.metric,
        lowest=any(word in options.metric for word in ("loss", "brier", "ece")),
        but=runs_rolled_back(class_scheme(num_classes).model_name),
    )


def _put_right(name: str) -> None:
    """Finish or clean what a killed promotion left, before anything is compared with the champion."""
    with registry_lock(name, who=who()):
        for line in recover(name, finish_record):
            print(line)


def _evaluate(options: PromoteOptions, candidate: TrainedRun) -> Evaluated:
    evaluated = evaluate(
        EvaluateOptions(model=candidate.model_uri, data=options.data, resamples=options.resamples),
        nested=True,
    )
    assert evaluated is not None
    return evaluated

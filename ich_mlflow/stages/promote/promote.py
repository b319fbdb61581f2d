"""Make a training run's model the champion of its registered name if it passes every gate; roll back; list all that."""

import textwrap
from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from ich_mlflow.errors import PromotionRefused
from ich_mlflow.parameters import AUTO, typed
from ich_mlflow.stages.common.evaluation import Evaluated
from ich_mlflow.stages.common.scoring import load_model
from ich_mlflow.stages.evaluate.evaluate import evaluate
from ich_mlflow.stages.evaluate.options import EvaluateOptions
from ich_mlflow.stages.promote.act import Act, given_reason
from ich_mlflow.stages.promote.candidates import candidate_of, name_of, wanted_name
from ich_mlflow.stages.promote.decision import Decision
from ich_mlflow.stages.promote.examination import Candidate, champion_of, examine
from ich_mlflow.stages.promote.options import PromoteOptions
from ich_mlflow.system.provenance import who
from ich_mlflow.tracking.audit import ROLLED_BACK, begin_record, history
from ich_mlflow.tracking.lock import registry_lock
from ich_mlflow.tracking.registry import CHAMPION, TrainedRun
from ich_mlflow.tracking.run import start_run
from ich_mlflow.tracking.versions import move_champion, recover, rollback_intent


def promote(options: PromoteOptions) -> None:
    """What `-e promote` does. Raises PromotionRefused where the candidate fails a gate."""
    if options.history:
        named = options.model != AUTO or options.num_classes != AUTO
        print(history_text(wanted_name(options) if named else None))
    elif options.rollback:
        rollback(options)
    else:
        decision = promote_candidate(options)
        if not decision.promote:
            failed = ", ".join(decision.failed)
            raise PromotionRefused(f"refused because of {failed}, as said above: nothing was promoted")


def promote_candidate(
    options: PromoteOptions, *, nested: bool = False, evaluated: Evaluated | None = None
) -> Decision:
    """Examine the candidate, decide, act, record. evaluated: of the candidate, where that was done before."""
    trained = candidate_of(options)
    name = name_of(trained, options)
    with start_run("promote", nested=nested) as run:
        run.params(typed(options), prefix="promote")
        run.tags({"ich.trained_run": trained.run_id, "ich.model": name})
        _put_right(name)
        champion = champion_of(name)
        candidate = Candidate(
            run=trained,
            model=load_model(trained.model_uri),
            evaluated=evaluated or _evaluate(options, trained),
        )
        examined = examine(candidate, champion, name=name, num_resamples=options.resamples)
        for path, table in _tables(examined.differences).items():
            run.table(table, path)
        act = Act(
            options=options,
            run=run,
            name=name,
            candidate=candidate,
            champion=champion,
            examined=examined,
            author=who(),
        )
        with registry_lock(name, who=who()) as held:
            return act.decide(held)


def rollback(options: PromoteOptions, *, nested: bool = False) -> str:
    """Make the champion before this one the champion again; return its version."""
    name = wanted_name(options)
    with start_run("rollback", nested=nested) as run, registry_lock(name, who=who()) as held:
        for line in recover(name, who=who()):
            print(line)
        intent = rollback_intent(name)
        record = begin_record(
            action=ROLLED_BACK,
            model_name=name,
            before=intent.before,
            after=intent.after,
            who=who(),
            why=given_reason(options) or "no reason given",
            run_id=run.run_id,
        )
        move_champion(name, replace(intent, record=record), held)
        run.call(name, f"to v{intent.after}")
        run.tags(
            {"ich.model": name, "ich.from": intent.before, "ich.to": intent.after, "ich.audit_run": record}
        )
        print(
            f"{name}: version {intent.after} is the {CHAMPION} again, version {intent.before} is rolled back"
        )
        return intent.after


def history_text(model_name: str | None) -> str:
    """The audit trail, the newest last: a line a record, below it which look at which test split it was, and why."""
    records = history(model_name)
    if records.empty:
        return "no promotion, refusal or rollback is recorded yet"
    return "\n".join(
        f"{row['when']}  {row['action']:<12}  {row['model']}  {row['from']} → {row['to']}  by {row['who']}\n"
        + (f"    {row['look']}\n" if row["look"] else "")
        + textwrap.fill(row["why"], 110, initial_indent="    ", subsequent_indent="    ")
        for row in records.to_dict("records")
    )


def _put_right(name: str) -> None:
    """Finish or clean what a killed promotion left, before anything is compared with the champion."""
    with registry_lock(name, who=who()):
        for line in recover(name, who=who()):
            print(line)


def _evaluate(options: PromoteOptions, candidate: TrainedRun) -> Evaluated:
    evaluated = evaluate(
        EvaluateOptions(model=candidate.model_uri, data=options.data, resamples=options.resamples),
        nested=True,
    )
    assert evaluated is not None
    return evaluated


def _tables(differences: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Paths of the tables of differences: the unit that the mean AUC is of has the plain name."""
    return {
        "tables/difference.json" if not number else f"tables/difference_{unit}.json": table
        for number, (unit, table) in enumerate(differences.items())
    }

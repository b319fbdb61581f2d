"""Register the best finished run of a class scheme and move the alias champion, or say why not."""

from dataclasses import asdict

from ich_mlflow.labels import class_scheme
from ich_mlflow.options import AUTO, PromoteOptions, is_true
from ich_mlflow.promotion import VAL_AUC_MACRO, Contender, Decision, compare
from ich_mlflow.report.render import as_description
from ich_mlflow.tracking.registry import (
    CHAMPION,
    TrainedRun,
    best_training_run,
    champion_run,
    champion_version,
    evaluation_of,
    register_champion,
    run_artifact,
    training_run,
)
from ich_mlflow.tracking.run import NOTICE, start_run
from ich_mlflow.workflows.results import CARD_FILE


def promote(options: PromoteOptions, *, nested: bool = False) -> Decision:
    """Compare candidate and champion, log the decision with its reasons, and act on it."""
    name = class_scheme(options.num_classes).model_name
    with start_run("promote", nested=nested) as run:
        run.params(asdict(options), prefix="promote")
        candidate = _candidate(options)
        champion = champion_run(name)
        decision = _decide(candidate, champion, name=name, replace=is_true(options.replace))
        run.dictionary(asdict(decision), "decision.json")
        run.tags({"ich.promoted": decision.promote, "ich.trained_run": candidate.run_id})
        for reason in decision.reasons:
            print(reason)
        if decision.promote:
            version = register_champion(
                candidate, model_name=name, tags=_version_tags(candidate), description=_description(candidate)
            )
            print(f"{name} version {version} is the {CHAMPION} now: models:/{name}@{CHAMPION}")
        else:
            print(f"{name}: version {champion_version(name)} stays the {CHAMPION}")
        return decision


def _candidate(options: PromoteOptions) -> TrainedRun:
    if options.run == AUTO:
        return best_training_run(num_classes=options.num_classes, metric=VAL_AUC_MACRO)
    return training_run(options.run)


def _decide(candidate: TrainedRun, champion: TrainedRun | None, *, name: str, replace: bool) -> Decision:
    if champion is not None and champion.run_id == candidate.run_id:
        return Decision(False, (f"run {candidate.run_id} is the {CHAMPION} of {name} already",))
    contender = _contender(candidate)
    expected = int(name.removeprefix("ich-").removesuffix("class"))
    if contender.num_classes != expected:
        return Decision(
            False, (f"{contender.name} has {contender.num_classes} classes, {name} has {expected}",)
        )
    decision = compare(contender, None if champion is None else _contender(champion))
    if replace and not decision.promote and compare(contender, None).promote:
        return Decision(True, (*decision.reasons, "promoted all the same: replace=true"))
    return decision


def _contender(run: TrainedRun) -> Contender:
    return Contender(
        name=f"run {run.name} ({run.run_id[:8]})",
        num_classes=int(run.params["hp.num_classes"]),
        metric_value=run.metrics.get(VAL_AUC_MACRO),
        data_digest=run.params.get("data.digest"),
    )


def _version_tags(run: TrainedRun) -> dict[str, str]:
    wanted = ("hp.recipe", "hp.num_classes", "data.source", "data.digest", "weights.start")
    tags = {f"ich.{name}": run.params[name] for name in wanted if name in run.params}
    return {**tags, f"ich.{VAL_AUC_MACRO}": f"{run.metrics[VAL_AUC_MACRO]:.4f}"}


def _description(run: TrainedRun) -> str:
    """The model card of the newest evaluation on the run's own test split; a sentence where there is none yet."""
    evaluation = evaluation_of(run.run_id, data_digest=run.params["data.digest"])
    card = run_artifact(evaluation, CARD_FILE) if evaluation else None
    if evaluation and card:
        return as_description(card.decode(), run_id=evaluation)
    params = run.params
    return (
        f"{NOTICE} EfficientNet-B0, {params['hp.num_classes']} classes, recipe {params['hp.recipe']}, "
        f"{params['weights.said']}. Trained on {params['data.source']} (digest {params['data.digest'][:12]}); "
        f"mean validation AUC {run.metrics[VAL_AUC_MACRO]:.3f}. Run {run.run_id}."
    )

"""Which training run is the candidate, and under which registered name; where none fits, why and what to pass."""

from collections.abc import Container, Sequence

from ich_mlflow.commands import next_command
from ich_mlflow.errors import OptionError, PromotionError, nearest
from ich_mlflow.evaluation.metrics import METRICS
from ich_mlflow.parameters import AUTO
from ich_mlflow.sources.registry import PHANTOM
from ich_mlflow.stages.common.names import is_of_phantoms, num_classes_of, registered_name
from ich_mlflow.stages.promote.options import PromoteOptions
from ich_mlflow.tracking.registry import (
    CHAMPION,
    TrainedRun,
    alias_version,
    finished_trainings,
    tracking_uri,
    training_run,
)
from ich_mlflow.tracking.versions import SOURCE_PARAM, runs_rolled_back, source_of

_PHANTOMS, _REAL = "phantoms", "other data than phantoms"


def wanted_name(options: PromoteOptions) -> str:
    """The registered name that was asked for: by model=, else by num_classes=, else ich-5class."""
    if options.model != AUTO:
        return options.model
    return registered_name(5 if options.num_classes == AUTO else int(options.num_classes), "")


def candidate_of(options: PromoteOptions) -> TrainedRun:
    """The run that run= names, else the best one of the kind that the name is for. Raises PromotionError."""
    if options.run != AUTO:
        return training_run(options.run)
    name = wanted_name(options)
    champion = alias_version(name, CHAMPION)
    return best_of(
        finished_trainings(num_classes_of(name)),
        name=name,
        champion_source="" if champion is None else source_of(name, champion),
        metric=options.metric,
        but=runs_rolled_back(name),
    )


def name_of(candidate: TrainedRun, options: PromoteOptions) -> str:
    """The registered name of a candidate: model=, else its own. Raises PromotionError where it has other classes."""
    own = own_name(candidate)
    num_classes = num_classes_of(own)
    if options.num_classes not in (AUTO, str(num_classes)):
        asked = f"num_classes={options.num_classes}"
    elif options.model != AUTO and num_classes_of(options.model) != num_classes:
        asked = f"model={options.model}"
    else:
        return own if options.model == AUTO else options.model
    raise PromotionError(
        f"run {candidate.run_id} predicts {num_classes} classes, expected {asked}: pass another -P run=, or leave out "
        f"-P {asked.split('=')[0]}="
    )


def own_name(candidate: TrainedRun) -> str:
    """The registered name that a run's classes and its data give it."""
    return registered_name(int(candidate.params["hp.num_classes"]), source_learned_from(candidate))


def source_learned_from(candidate: TrainedRun) -> str:
    """The source of the data that the run learned from; '' where it does not say."""
    return candidate.params.get(SOURCE_PARAM, "")


def misnamed(name: str, source: str) -> str:
    """Why a model that learned from that source can't have the registered name; '' where it can."""
    if is_of_phantoms(name) == (source == PHANTOM):
        return ""
    expected = _PHANTOMS if is_of_phantoms(name) else _REAL
    return (
        f"{name} is for models that learned from {expected}, and the candidate learned from "
        f"{source or 'data not recorded'}: leave out model="
    )


def lowest_is_best(metric: str) -> bool:
    """Whether the lowest of a training run's metric is the best, by the metric's record: `val/brier/any` is a loss.

    Raises OptionError for a metric of which neither the highest nor the lowest is the best.
    """
    records = {record.name: record for record in METRICS}
    named = [records[part] for part in metric.split("/") if part in records]
    if not named:
        return "loss" in metric
    if not named[0].has_macro:
        raise OptionError(
            f"metric is {metric!r}, whose best value is neither the highest nor the lowest: pass for example "
            "-P metric=val/brier_skill/any"
        )
    return named[0].lowest_is_best


def best_of(
    trained: Sequence[TrainedRun], *, name: str, champion_source: str, metric: str, but: Container[str] = ()
) -> TrainedRun:
    """The run with the best metric among those that the name is for, of the champion's source where that is known.

    trained: all finished runs of the class scheme. but: ids of runs to pass over. Raises PromotionError where none is
    left, which says why.
    """
    lowest = lowest_is_best(metric)
    suited = _of_source(_of_kind(trained, name), name, champion_source)
    known = [run for run in suited if metric in run.metrics]
    if not known:
        names = sorted({one for run in suited for one in run.metrics})
        raise PromotionError(
            f"metric is {metric!r}, and none of the {_runs(suited, name)} that could be promoted to {name} has one of "
            f"that name: pass another -P metric={nearest(metric, names)}"
        )
    left = [run for run in known if run.run_id not in but]
    if not left:
        raise PromotionError(
            f"every {_runs(suited, name, counted=False)} for {name} in {tracking_uri()} that has {metric} was "
            f"rolled back: name one by -P run=, or run {_train(name)}"
        )
    return (min if lowest else max)(left, key=lambda run: run.metrics[metric])


def _of_kind(trained: Sequence[TrainedRun], name: str) -> list[TrainedRun]:
    """Runs that learned from what the name says: phantoms, or anything but phantoms."""
    if not trained:
        raise PromotionError(
            f"no {_runs(trained, name, counted=False)} in {tracking_uri()}: run {_train(name)}"
        )
    suited = [run for run in trained if not misnamed(name, source_learned_from(run))]
    if not suited:
        mine, others = (_PHANTOMS, _REAL) if is_of_phantoms(name) else (_REAL, _PHANTOMS)
        other = registered_name(num_classes_of(name), "" if is_of_phantoms(name) else PHANTOM)
        raise PromotionError(
            f"all {_runs(trained, name)} in {tracking_uri()} learned from {others}, expected one that learned from "
            f"{mine} for {name}: train on {mine}, or run {next_command('promote', model=other)}"
        )
    return suited


def _of_source(trained: list[TrainedRun], name: str, champion_source: str) -> list[TrainedRun]:
    """Runs that learned from the champion's source; all where it is not known, or is none that the name is for."""
    if not champion_source or misnamed(name, champion_source):
        return trained
    suited = [run for run in trained if source_learned_from(run) == champion_source]
    if not suited:
        others = sorted({source_learned_from(run) or "data not recorded" for run in trained})
        raise PromotionError(
            f"none of the {_runs(trained, name)} that could be promoted to {name} learned from {champion_source}, "
            f"as its champion did, but from {', '.join(others)}: train on {champion_source}, or name one by "
            "-P run=<run id> -P replace=true"
        )
    return suited


def _runs(runs: Sequence[TrainedRun], name: str, *, counted: bool = True) -> str:
    """`2 finished training runs with num_classes=5`."""
    count = f"{len(runs)} " if counted else ""
    several = "s" if counted and len(runs) != 1 else ""
    return f"{count}finished training run{several} with num_classes={num_classes_of(name)}"


def _train(name: str) -> str:
    """The command that makes such a run."""
    return next_command("train", num_classes=num_classes_of(name))

"""Search for a better setting of the hyperparameters, and write the best one as a recipe."""

import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from os import getpid
from typing import Any

from ich_mlflow.commands import next_command
from ich_mlflow.dataset.mixture import data_of
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.errors import OptionError, TrainingError
from ich_mlflow.labels import class_scheme
from ich_mlflow.models.ancestry import Ancestry
from ich_mlflow.models.monitors import MONITORS
from ich_mlflow.parameters import AUTO, Choice, parameters_of, typed
from ich_mlflow.stages.common.initial_weights import (
    initial_weights,
    models_pinned,
    patients_to_learn_from,
    say_if_tested,
    say_past,
    say_start,
)
from ich_mlflow.stages.common.recipes import RECIPE_FILE, Recipe
from ich_mlflow.stages.common.scoring import load_model
from ich_mlflow.stages.common.training_data import check_labels, rows_beside, training_rows
from ich_mlflow.stages.common.unfinished import differences, what_counts
from ich_mlflow.stages.preprocess.options import PreprocessOptions
from ich_mlflow.stages.train.train import open_stored_set, train
from ich_mlflow.stages.tune.options import TuneOptions
from ich_mlflow.stages.tune.plan import Plan
from ich_mlflow.stages.tune.results import log_found
from ich_mlflow.stages.tune.trial import WorkerOptions
from ich_mlflow.stages.tune.workers import Workers
from ich_mlflow.system.processes import locked
from ich_mlflow.system.quiet import native_stderr_muted
from ich_mlflow.tracking.registry import tracking_uri
from ich_mlflow.tracking.run import Run, start_run, why_not_resumable
from ich_mlflow.tuning.search import Search, first_number
from ich_mlflow.tuning.space import Space
from ich_mlflow.tuning.storage import open_storage, without_password

_TRAINED_TAG = "ich.trained_best"


def tune(options: TuneOptions) -> Recipe:
    """Run the search to its end, or on from where it was stopped; return the best setting as a recipe."""
    # an alias may move while the search lasts
    plan = Plan(models_pinned(options, Plan(options).family))
    with ExitStack() as locks:
        plan.folder.mkdir(parents=True, exist_ok=True)
        locks.enter_context(locked(plan.folder, "lock", by="another tune of the same search"))
        search = Search(open_storage(plan.storage), plan.search_options)
        notes = _notes(search, plan)
        with start_run("tune", resume=notes.get("run_id")) as run:
            _say_begin(search, plan, run)
            if not notes:  # once others know the run, they log on it too
                run.params({**typed(options), "storage": without_password(options.storage)}, prefix="tune")
                run.tags({"ich.search": plan.name})
                search.begin({"run_id": run.run_id, "options": what_counts(options)})
            stored = open_stored_set(plan.train_options)
            space = _checked(plan, stored, search)
            run.params(space.describe(), prefix="dimension")
            print("\n".join(f"  {name:<18}{text}" for name, text in space.describe().items()))
            search.try_first(space.of_base())
            if not search.has_heartbeat:  # this process holds the lock, so who ran trials is dead
                search.give_back_all()
            Workers(_told(plan, space, stored, run), options.workers).run(search, run)
            shutil.rmtree(plan.folder / "trials", ignore_errors=True)
            return _finish(plan, space, search, stored, run)


def _notes(search: Search, plan: Plan) -> dict[str, Any]:
    """What the search's founder noted, checked against what is asked for now; empty for a new search."""
    notes = search.notes(wait=plan.options.storage != AUTO)
    if not notes:
        return {}
    if not plan.options.resume:
        raise OptionError(
            f"search {plan.name} is there already: leave out -P resume=false, or pass another -P search="
        )
    # The same data may lie elsewhere on another machine: its digest is compared.
    wanted = {name: value for name, value in what_counts(plan.options).items() if name not in ("data", "out")}
    differs = differences(notes["options"], wanted)
    if differs:
        raise OptionError(
            f"search {plan.name} was begun with another {differs}: expected the same, or another -P search="
        )
    reason = why_not_resumable(notes["run_id"], finished=True)
    if reason:
        raise OptionError(
            f"search {plan.name} can't go on, its run {notes['run_id']} {reason}: pass -P resume=false, or another "
            "-P search="
        )
    return notes


def _say_begin(search: Search, plan: Plan, run: Run) -> None:
    ended = len(search.ended())
    goes_on = f"goes on after {ended} trials" if run.resumed else "begins"
    print(
        f"search {plan.name} {goes_on}, run {run.run_id}; trials are kept in {without_password(plan.storage)}"
    )


def _checked(plan: Plan, stored: StoredSet, search: Search) -> Space:
    """The space that the data allow. What would end every trial ends the search before the first."""
    began_with = search.notes(wait=False).get("digest", stored.digest)
    stored.expect_digest(
        began_with, begun=f"search {plan.name}", anew="pass -P resume=false to begin another"
    )
    search.note(digest=stored.digest)
    options = plan.options
    data = stored if options.fold == AUTO else stored.with_fold(int(options.fold))
    scheme = class_scheme(plan.base.num_classes)
    rows, _ = training_rows(data, scheme, epidural_only=options.epidural_only)
    beside = rows_beside(data, scheme, epidural_only=options.epidural_only)
    check_labels(
        data, rows, scheme, missing=options.missing_labels, exams=plan.family.says_exams, beside=beside
    )
    for past in (_PAST_BY[option] for option in plan.family.options if option in _PAST_BY):
        for ancestry in past(plan, data):
            say_if_tested(ancestry, data)
    return plan.allowed_by(data)


def _past_of_weights(plan: Plan, data: StoredSet) -> Iterator[Ancestry]:
    """What the initial weights of each backbone have learned from. Raises ModelError where they can't be had."""
    dimension = plan.space.dimensions.get("backbone")
    for name in dimension.values if isinstance(dimension, Choice) else (plan.base.backbone,):
        with native_stderr_muted():
            start = initial_weights(
                plan.options.weights,
                name=name,
                image_size=plan.base.image_size,
                patients=patients_to_learn_from(data),
            )
        say_start(start)
        yield start.ancestry


def _past_of_slice_model(plan: Plan, data: StoredSet) -> Iterator[Ancestry]:
    """What the model of the slices has learned from. Raises ModelError where it can't be loaded."""
    found = load_model(plan.options.slice_model)
    print(f"the slices' network is {found.uri}")
    say_past(found.ancestry)
    yield found.ancestry


#: What trials begin from, by the option of a family that names it.
_PAST_BY: dict[str, Callable[[Plan, StoredSet], Iterator[Ancestry]]] = {
    "weights": _past_of_weights,
    "slice_model": _past_of_slice_model,
}


def _told(plan: Plan, space: Space, stored: StoredSet, run: Run) -> WorkerOptions:
    # Of several machines no two workers may bear one name; of one machine the names make the draws repeatable.
    name = "" if plan.options.storage == AUTO else f"{socket.gethostname()}-{getpid()}-"
    return WorkerOptions(
        number=0,
        name=name,
        num_workers=plan.options.workers,
        search=plan.search_options,
        storage=plan.storage,
        space=space,
        recipe=plan.recipe,
        options=plan.train_options,
        data=data_of(stored),
        folder=plan.folder,
        parent=run.run_id,
        experiment_id=run.experiment_id,
        tracking_uri=tracking_uri(),
    )


def _finish(plan: Plan, space: Space, search: Search, stored: StoredSet, run: Run) -> Recipe:
    """Log the search whole; write the recipe, and train it where that was asked for."""
    log_found(run, search, space, monitor=plan.base.monitor, stored=stored)
    best = search.best
    if best is None:
        why = search.why_given_up or "no trial is complete: every one was pruned or failed"
        raise TrainingError(f"search {plan.name} found nothing, {why}: see {plan.folder}/worker-0.log")
    found = space.setting(best.params)
    recipe = Recipe(
        name=f"tuned-{plan.name}",
        hyperparameters=replace(found, epochs=plan.base.epochs)
        if plan.options.trial_epochs != AUTO
        else found,
        about={
            "search": plan.name,
            "run_id": run.run_id,
            "trial": first_number(best),
            "monitor": plan.base.monitor,
            "value": best.value,
            "trials": len(search.ended()),
            "data_digest": stored.digest,
            **{name: getattr(plan.options, name) for name in plan.family.options if name in _PAST_BY},
        },
    )
    recipe.write(plan.folder / RECIPE_FILE)
    run.file(plan.folder / RECIPE_FILE)
    run.tags({"ich.best_trial": first_number(best)})
    found = f"trial {first_number(best)}, {MONITORS[plan.base.monitor].title} {best.value:.4f}"
    next_one = train_command(plan, run_id=run.run_id, data=data_of(stored))
    run.describe(f"**Best**: {found}", f"**Next**: `{next_one}`")
    print(f"best: {found}\nrecipe: {plan.folder / RECIPE_FILE}\ntrain it:  {next_one}")
    if plan.options.train_best:
        _train_best(plan, stored, run, trial=first_number(best))
    return recipe


def train_command(plan: Plan, *, run_id: str, data: str) -> str:
    """The command that trains the recipe of that search's run on its stored set.

    It says all that the trials went by, as fold or precision, but for hyperparameters, which the recipe has, and how
    the stored set was made.
    """
    told, known = plan.train_options, parameters_of(plan.train_options)
    elsewhere = parameters_of(PreprocessOptions).keys() - {"seed"} | {"recipe", "resume"}
    said = {
        name: value
        for name, value in typed(told).items()
        if name not in elsewhere and getattr(told, name) != known[name].default
    }
    return next_command("train", recipe=run_id, data=data, **said)


def _train_best(plan: Plan, stored: StoredSet, run: Run, *, trial: int) -> None:
    """Train the recipe as train does, in a child run; once for a best trial."""
    if run.tag(_TRAINED_TAG) == str(trial):
        print(f"trial {trial} has been trained in full before")
        return
    options = replace(
        plan.train_options, recipe=str(plan.folder / RECIPE_FILE), source=AUTO, data=data_of(stored)
    )
    trained = train(options, nested=True, stored=stored)
    run.tags({_TRAINED_TAG: trial, "ich.trained_run": trained.run_id})

"""What a search leaves on its run: pictures and a table of all trials."""

from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.figures.search import (
    COMPLETE,
    FAILED,
    PRUNED,
    history_figure,
    importance_figure,
    parallel_figure,
    slice_figure,
    timeline_figure,
)
from ich_mlflow.models.monitors import MONITORS
from ich_mlflow.parameters import Range
from ich_mlflow.stages.common.stored_sets import data_note
from ich_mlflow.tracking.run import Run
from ich_mlflow.tuning.search import Search, first_number
from ich_mlflow.tuning.space import Space

TABLE = "tables/trials.json"


def log_found(run: Run, search: Search, space: Space, *, monitor: str, stored: StoredSet) -> None:
    """Log the trials that have ended: five pictures, the table, and how many there are of each kind."""
    goes_by = MONITORS[monitor]
    said, higher = goes_by.title, goes_by.direction == "maximize"
    dimensions = list(space.dimensions)
    trials = search.table(dimensions)
    log = [
        name for name, dimension in space.dimensions.items() if isinstance(dimension, Range) and dimension.log
    ]
    best = search.best
    note = f"search {search.options.name}, {len(trials)} trials; validation split, {data_note(stored)}"
    run.figure(history_figure(trials, said=said, higher_is_better=higher, note=note), "figures/history.png")
    run.figure(
        importance_figure(
            search.importances(), note=f"{note}. Of dimensions that counted in every complete trial (fANOVA)"
        ),
        "figures/importances.png",
    )
    run.figure(
        parallel_figure(trials, dimensions, said=said, higher_is_better=higher, log=log, note=note),
        "figures/parallel_coordinates.png",
    )
    number = None if best is None else first_number(best)
    run.figure(
        slice_figure(trials, dimensions, said=said, log=log, best=number, note=note), "figures/slices.png"
    )
    run.figure(timeline_figure(trials, note=note), "figures/timeline.png")
    run.table(trials, TABLE)
    run.frame(trials, "tables/trials.csv")
    run.metrics(
        {f"trials/{state}": int((trials["state"] == state).sum()) for state in (COMPLETE, PRUNED, FAILED)}
    )
    if best is not None and best.value is not None:
        run.metrics({"value": best.value})

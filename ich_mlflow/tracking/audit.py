"""The audit trail: a run a promotion, refusal and rollback, in an experiment of its own."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pandas as pd
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from ich_mlflow import __version__
from ich_mlflow.errors import PromotionError
from ich_mlflow.tracking.looks import DIGEST_TAG, LOOK_TAG
from ich_mlflow.tracking.run import NOTICE, STAGE_TAG
from ich_mlflow_plugin import EXPERIMENT_TAGS

EXPERIMENT = "ich_mlflow_promotions"
PROMOTED, REFUSED, ROLLED_BACK, DROPPED = "promoted", "refused", "rolled back", "dropped"
COLUMNS = ("when", "action", "model", "from", "to", "who", "why", "look")
_PAGE = 1000


def begin_record(
    *,
    action: str,
    model_name: str,
    before: str,
    after: str,
    who: str,
    why: str,
    run_id: str,
    trained_run: str = "",
    details: Mapping[str, Any] | None = None,
    about: Mapping[str, str] | None = None,
) -> str:
    """Record what is about to be done; finish_record when it is. Returns the id of the record's run.

    before, after: version numbers, '' for none. run_id: of the run that did it. details: the decision, with gates.
    about: further tags, as look_tags gives them.
    """
    client = MlflowClient()
    tags = {
        STAGE_TAG: "audit", "ich.version": __version__, "ich.notice": NOTICE, "ich.action": action,
        "ich.model": model_name, "ich.from": before, "ich.to": after, "ich.who": who, "ich.why": why[:5000],
        "ich.promote_run": run_id, "ich.trained_run": trained_run, "mlflow.note.content": why[:5000],
        **(about or {}),
    }  # fmt: skip
    name = f"{action}: {model_name} {_version(before)} → {_version(after)}"
    record = client.create_run(_experiment(client), tags=tags, run_name=name).info.run_id
    if details is not None:
        client.log_dict(record, dict(details), "decision.json")
        client.log_table(record, pd.DataFrame(details["gates"]), "tables/gates.json")
    return str(record)


def finish_record(record: str) -> None:
    """Say that it was done."""
    MlflowClient().set_terminated(record, "FINISHED")


def history(model_name: str | None = None) -> pd.DataFrame:
    """Every record of that model, or of all, the oldest first: COLUMNS, all text.

    What was begun and never finished says so in its action.
    """
    client = MlflowClient()
    experiment = client.get_experiment_by_name(EXPERIMENT)
    rows = []
    token: str | None = None
    while experiment is not None:
        found = client.search_runs(
            [experiment.experiment_id],
            order_by=["attributes.start_time ASC"],
            max_results=_PAGE,
            page_token=token,
        )
        rows += [_row(run) for run in found]
        token = found.token
        if not token:
            break
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame if model_name is None else frame[frame["model"] == model_name].reset_index(drop=True)


def _row(run: Any) -> dict[str, str]:
    tags = run.data.tags
    unfinished = "" if run.info.status == "FINISHED" else " (cut off)"
    return {
        "when": datetime.fromtimestamp(run.info.start_time / 1000).strftime("%Y-%m-%d %H:%M:%S"),
        "action": tags.get("ich.action", "?") + unfinished,
        "model": tags.get("ich.model", "?"),
        "from": _version(tags.get("ich.from", "")),
        "to": _version(tags.get("ich.to", "")),
        "who": tags.get("ich.who", "?"),
        "why": tags.get("ich.why", ""),
        "look": _look(tags),
    }


def _look(tags: Mapping[str, str]) -> str:
    """Which look at which test split it was; '' of a rollback, and of records older than this was kept."""
    return f"{tags[LOOK_TAG]} ({tags[DIGEST_TAG][:12]})" if LOOK_TAG in tags else ""


def _version(number: str) -> str:
    return f"v{number}" if number else "none"


def _experiment(client: MlflowClient) -> str:
    for _ in range(3):
        found = client.get_experiment_by_name(EXPERIMENT)
        if found is not None:
            return str(found.experiment_id)
        try:
            return str(client.create_experiment(EXPERIMENT, tags=EXPERIMENT_TAGS))
        except MlflowException:  # another process was first
            continue
    raise PromotionError(
        f"experiment {EXPERIMENT} can't be made: was it deleted? Restore it by mlflow experiments restore, or "
        "remove it for good by mlflow gc"
    )

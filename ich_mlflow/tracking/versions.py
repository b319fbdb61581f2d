"""Model versions as promotions see them: registered, made champion or not, and put right after a kill.

Aliases: `champion` serves; `previous` was the champion before it; `candidate` was refused, or is being examined. The
tag `ich.promotion_state` of a version says the same for good: pending, refused, champion, replaced, rolled_back.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from ich_mlflow.errors import PromotionError
from ich_mlflow.tracking.registry import CHAMPION, TrainedRun, alias_version, run_parameters

PREVIOUS, CANDIDATE = "previous", "candidate"
STATE_TAG, PREVIOUS_TAG = "ich.promotion_state", "ich.previous_version"
#: Of which source the data were that the version learned from, as its training run has it.
SOURCE_PARAM = "data.source"
SOURCE_TAG = f"ich.{SOURCE_PARAM}"
PENDING, REFUSED, REPLACED, ROLLED_BACK = "pending", "refused", "replaced", "rolled_back"
_INTENT_TAG = "ich.promotion_intent"
_RUN_TAG = "ich.run_id"
_NONE = ""


@dataclass(frozen=True, kw_only=True)
class Intent:
    """A move of the alias champion, written down before it is made, so that whoever comes next can finish it.

    before, after, previous: version numbers, '' for none; state_before: what the champion before becomes.
    record: id of the run in the audit trail.
    """

    before: str
    after: str
    previous: str
    state_before: str
    record: str


def version_of(model_name: str, model_uri: str) -> str | None:
    """The version that was registered from that logged model; None where there is none."""
    versions = MlflowClient().search_model_versions(f"name = '{model_name}'")
    found = [int(version.version) for version in versions if version.source == model_uri]
    return str(max(found)) if found else None


def state_of(model_name: str, version: str) -> str:
    """What a promotion made of the version; '' where none did."""
    return _tags(model_name, version).get(STATE_TAG, "")


def source_of(model_name: str, version: str) -> str:
    """The source that the version learned from, as its tag or its training run says; '' where neither does."""
    tags = _tags(model_name, version)
    return tags.get(SOURCE_TAG) or run_parameters(tags.get(_RUN_TAG, "")).get(SOURCE_PARAM, "")


def trained_run_of(model_name: str, version: str) -> str:
    """The id of the training run that the version was registered from; '' where it is not known."""
    return _tags(model_name, version).get(_RUN_TAG, "")


def runs_rolled_back(model_name: str) -> set[str]:
    """Training runs whose version was rolled back."""
    versions = MlflowClient().search_model_versions(f"name = '{model_name}'")
    return {v.tags.get(_RUN_TAG, "") for v in versions if v.tags.get(STATE_TAG) == ROLLED_BACK}


def register_candidate(run: TrainedRun, *, model_name: str, tags: dict[str, Any], description: str) -> str:
    """The version of the run's serving model, registered now if it is not yet, with the alias candidate."""
    client = MlflowClient()
    version = version_of(model_name, run.model_uri)
    if version is None:
        about = {_RUN_TAG: run.run_id, STATE_TAG: PENDING, **tags}
        made = mlflow.register_model(
            run.model_uri, model_name, tags={name: str(value) for name, value in about.items()}
        )
        version = str(made.version)
    client.update_model_version(model_name, version, description=description)
    client.set_registered_model_alias(model_name, CANDIDATE, version)
    return version


def refuse(model_name: str, version: str, why: str) -> None:
    """Keep the version with the alias candidate, and say on it why it is no more."""
    client = MlflowClient()
    if state_of(model_name, version) in (_NONE, PENDING):
        client.set_model_version_tag(model_name, version, STATE_TAG, REFUSED)
    client.set_model_version_tag(model_name, version, "ich.refused_because", why[:5000])


def move_champion(model_name: str, intent: Intent, finish_record: Callable[[str], None]) -> None:
    """Write the intent down, then act on it."""
    client = MlflowClient()
    client.set_registered_model_tag(model_name, _INTENT_TAG, json.dumps(asdict(intent)))
    _act(client, model_name, intent, finish_record)


def recover(model_name: str, finish_record: Callable[[str], None]) -> list[str]:
    """Put right what a killed promotion left, and say it in lines: finish its move, or take its version away again.

    Call it under the lock.
    """
    client = MlflowClient()
    try:
        tags = client.get_registered_model(model_name).tags
    except MlflowException:
        return []
    said = []
    if _INTENT_TAG in tags:
        intent = Intent(**json.loads(tags[_INTENT_TAG]))
        _act(client, model_name, intent, finish_record)
        said.append(
            f"a promotion that was cut off is finished: {model_name} version {intent.after} is the champion"
        )
    for version in client.search_model_versions(f"name = '{model_name}'"):
        if version.tags.get(STATE_TAG) == PENDING:
            client.delete_model_version(model_name, version.version)
            said.append(
                f"version {version.version} of {model_name}, registered by a promotion that was cut off, is removed; "
                f"its model is still in run {version.tags.get(_RUN_TAG)}"
            )
    return said


def rollback_intent(model_name: str, record: str = "") -> Intent:
    """From the champion back to the one before. Raises PromotionError where there is none."""
    before, after = (alias_version(model_name, alias) for alias in (CHAMPION, PREVIOUS))
    if before is None:
        raise PromotionError(f"{model_name} has no {CHAMPION}, so there is nothing to roll back")
    if after is None:
        raise PromotionError(
            f"{model_name} has no version with the alias {PREVIOUS}, expected the champion before version {before}: "
            "promote another run instead, -P run=<id>"
        )
    earlier = _tags(model_name, after).get(PREVIOUS_TAG, _NONE)
    return Intent(before=before, after=after, previous=earlier, state_before=ROLLED_BACK, record=record)


def _act(client: MlflowClient, model_name: str, intent: Intent, finish_record: Callable[[str], None]) -> None:
    """Every step can be done again, so a second try ends where the first would have."""
    client.set_registered_model_alias(model_name, CHAMPION, intent.after)
    if intent.previous:
        client.set_registered_model_alias(model_name, PREVIOUS, intent.previous)
    else:
        client.delete_registered_model_alias(model_name, PREVIOUS)
    if alias_version(model_name, CANDIDATE) == intent.after:
        client.delete_registered_model_alias(model_name, CANDIDATE)
    if intent.before:
        client.set_model_version_tag(model_name, intent.before, STATE_TAG, intent.state_before)
    client.set_model_version_tag(model_name, intent.after, STATE_TAG, CHAMPION)
    if intent.state_before != ROLLED_BACK:
        client.set_model_version_tag(model_name, intent.after, PREVIOUS_TAG, intent.before)
    finish_record(intent.record)
    client.delete_registered_model_tag(model_name, _INTENT_TAG)


def _tags(model_name: str, version: str) -> dict[str, str]:
    with suppress(MlflowException):
        return dict(MlflowClient().get_model_version(model_name, version).tags)
    return {}

"""Model versions as promotions see them: registered, made champion or not, and put right after a kill.

Aliases: `champion` serves; `previous` was the champion before it; `candidate` was refused, or is being examined. The
tag `ich.promotion_state` of a version says the same for good: pending, refused, champion, replaced, rolled_back.
"""

import json
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from ich_mlflow.errors import PromotionError
from ich_mlflow.tracking.answers import expect_absent
from ich_mlflow.tracking.audit import DROPPED, begin_record, finish_record
from ich_mlflow.tracking.lock import Held
from ich_mlflow.tracking.registry import (
    CHAMPION,
    TrainedRun,
    alias_version,
    describe_model,
    register,
    run_parameters,
)

PREVIOUS, CANDIDATE = "previous", "candidate"
STATE_TAG, PREVIOUS_TAG = "ich.promotion_state", "ich.previous_version"
#: Of which source the data were that the version learned from, as its training run has it.
SOURCE_PARAM = "data.source"
SOURCE_TAG = f"ich.{SOURCE_PARAM}"
PENDING, REFUSED, REPLACED, ROLLED_BACK = "pending", "refused", "replaced", "rolled_back"
_INTENT_TAG = "ich.promotion_intent"
RUN_TAG = "ich.run_id"
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
    return tags.get(SOURCE_TAG) or run_parameters(tags.get(RUN_TAG, "")).get(SOURCE_PARAM, "")


def trained_run_of(model_name: str, version: str) -> str:
    """The id of the training run that the version was registered from; '' where it is not known."""
    return _tags(model_name, version).get(RUN_TAG, "")


def runs_rolled_back(model_name: str) -> set[str]:
    """Training runs whose version was rolled back."""
    versions = MlflowClient().search_model_versions(f"name = '{model_name}'")
    return {v.tags.get(RUN_TAG, "") for v in versions if v.tags.get(STATE_TAG) == ROLLED_BACK}


#: Of a registered model, above the list of its versions.
ABOUT_VERSIONS = (
    f"Haemorrhage on head CT: a DICOM file in, named probabilities and decisions out. `{CHAMPION}` is what is served, "
    f"`{CANDIDATE}` what promote looked at last. A version's tags say what it learned from and its AUCs on the test "
    "split with 95 % intervals over patients; its description is its card. Research software, not a medical device."
)


def register_candidate(run: TrainedRun, *, model_name: str, tags: dict[str, Any], description: str) -> str:
    """The version of the run's serving model, registered now if it is not yet, with the alias candidate."""
    client = MlflowClient()
    version = version_of(model_name, run.model_uri)
    if version is None:
        about = {RUN_TAG: run.run_id, STATE_TAG: PENDING, **tags}
        made = mlflow.register_model(
            run.model_uri, model_name, tags={name: str(value) for name, value in about.items()}
        )
        version = str(made.version)
        describe_model(model_name, ABOUT_VERSIONS)
    client.update_model_version(model_name, version, description=description)
    client.set_registered_model_alias(model_name, CANDIDATE, version)
    return version


def register_beside(model_uri: str, *, model_name: str, tags: dict[str, Any], description: str) -> str:
    """A new version of a registered model, with the alias candidate, as nothing that a promotion has begun."""
    version = register(model_uri, model_name=model_name, tags=tags, description=description)
    MlflowClient().set_registered_model_alias(model_name, CANDIDATE, version)
    return version


def refuse(model_name: str, version: str, why: str) -> None:
    """Keep the version with the alias candidate, and say on it why it is no more."""
    client = MlflowClient()
    if state_of(model_name, version) in (_NONE, PENDING):
        client.set_model_version_tag(model_name, version, STATE_TAG, REFUSED)
    client.set_model_version_tag(model_name, version, "ich.refused_because", why[:5000])


def move_champion(model_name: str, intent: Intent, held: Held) -> None:
    """Write the intent down, then act on it.

    held: the lock, which is looked at once more, as the champion is: a promotion that was taken for dead, or an alias
    that was moved by hand, is seen here. Raises PromotionError then.
    """
    held.expect_held()
    champion = alias_version(model_name, CHAMPION)
    if (champion or _NONE) != intent.before:
        raise PromotionError(
            f"the {CHAMPION} of {model_name} was set to {_shown(champion)} by someone else while "
            f"{_shown(intent.before)} was being replaced: look at it in the UI, then run the same again"
        )
    client = MlflowClient()
    client.set_registered_model_tag(model_name, _INTENT_TAG, json.dumps(asdict(intent)))
    _act(client, model_name, intent)


def recover(model_name: str, *, who: str) -> list[str]:
    """Put right what a killed promotion left, and say it in lines: finish its move, or take its version away again.

    What can't be finished, since its version is gone or nobody can tell what it meant, is dropped, which the audit
    trail says by the name of `who` found it. Call it under the lock.
    """
    client = MlflowClient()
    try:
        tags = client.get_registered_model(model_name).tags
    except MlflowException as error:
        expect_absent(error, model_name)
        return []
    said = []
    if _INTENT_TAG in tags:
        said.append(_finish_or_drop(client, model_name, tags[_INTENT_TAG], who))
    for version in client.search_model_versions(f"name = '{model_name}'"):
        if version.tags.get(STATE_TAG) == PENDING:
            client.delete_model_version(model_name, version.version)
            said.append(
                f"version {version.version} of {model_name}, registered by a promotion that was cut off, is removed; "
                f"its model is still in run {version.tags.get(RUN_TAG)}"
            )
    return said


def _finish_or_drop(client: MlflowClient, model_name: str, noted: str, who: str) -> str:
    """Finish the move that was noted, or drop it; what was done, in a line."""
    intent, why_not = _readable(noted), "its note can't be read"
    if intent is not None:
        gone = [
            one
            for one in (intent.after, intent.before, intent.previous)
            if one and not _exists(model_name, one)
        ]
        why_not = f"version {intent.after} is gone" if intent.after in gone else ""
        # Those that are gone need no tag and no alias any more.
        intent = replace(
            intent,
            before=_NONE if intent.before in gone else intent.before,
            previous=_NONE if intent.previous in gone else intent.previous,
        )
    if intent is not None and not why_not:
        lost = "" if _act(client, model_name, intent) else "; its record in the audit trail is gone"
        return f"a promotion that was cut off is finished: {model_name} version {intent.after} is the champion{lost}"
    champion = alias_version(model_name, CHAMPION)
    why = f"a promotion of {model_name} that was cut off can't be finished, since {why_not}"
    record = begin_record(
        action=DROPPED,
        model_name=model_name,
        before=champion or _NONE,
        after=champion or _NONE,
        who=who,
        why=why,
        run_id="",
    )
    client.delete_registered_model_tag(model_name, _INTENT_TAG)
    finish_record(record)
    now = (
        f"{_shown(champion)} is the {CHAMPION}"
        if champion
        else f"there is no {CHAMPION}, promote a run again"
    )
    return f"{why}: it is dropped; {now}"


def _readable(noted: str) -> Intent | None:
    """The intent in a tag; None where somebody edited it."""
    try:
        values = json.loads(noted)
        names = {field.name for field in fields(Intent)}
        if (
            set(values) == names
            and all(isinstance(value, str) for value in values.values())
            and values["after"]
        ):
            return Intent(**values)
    except (ValueError, TypeError):
        pass
    return None


def _exists(model_name: str, version: str) -> bool:
    try:
        MlflowClient().get_model_version(model_name, version)
        return True
    except MlflowException as error:
        if error.error_code == "INVALID_PARAMETER_VALUE":  # no number
            return False
        expect_absent(error, model_name)
        return False


def _shown(version: str | None) -> str:
    return f"version {version}" if version else "none"


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


def _act(client: MlflowClient, model_name: str, intent: Intent) -> bool:
    """Every step can be done again, so a second try ends where the first would have.

    Returns whether the move's record was there to be finished.
    """
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
    is_recorded = True
    try:
        finish_record(intent.record)
    except MlflowException as error:  # somebody deleted it
        expect_absent(error)
        is_recorded = False
    client.delete_registered_model_tag(model_name, _INTENT_TAG)
    return is_recorded


def _tags(model_name: str, version: str) -> dict[str, str]:
    try:
        return dict(MlflowClient().get_model_version(model_name, version).tags)
    except MlflowException as error:
        expect_absent(error, model_name)
        return {}

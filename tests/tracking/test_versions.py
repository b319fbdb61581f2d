"""What becomes of a promotion that was cut off and can't be finished, and of one that somebody interferes with."""

import json
from dataclasses import asdict

import mlflow
import pytest
from mlflow.exceptions import MlflowException

from ich_mlflow.errors import PromotionError
from ich_mlflow.tracking.audit import PROMOTED, begin_record, history
from ich_mlflow.tracking.lock import registry_lock
from ich_mlflow.tracking.registry import alias_version
from ich_mlflow.tracking.versions import Intent, move_champion, recover, rollback_intent, state_of

NAME, TAG = "intended", "ich.promotion_intent"


@pytest.fixture
def client(workspace, tmp_path):
    """Three versions, the first of them champion."""
    client = mlflow.MlflowClient()
    client.create_registered_model(NAME)
    for number in (1, 2, 3):
        client.create_model_version(NAME, source=(tmp_path / f"model-{number}").as_uri())
    client.set_registered_model_alias(NAME, "champion", "1")
    yield client
    for model in client.search_registered_models(f"name LIKE '{NAME}%'"):
        client.delete_registered_model(model.name)


def record():
    return begin_record(action=PROMOTED, model_name=NAME, before="1", after="2", who="me", why="", run_id="")


def intent(**changed):
    return Intent(
        **{"before": "1", "after": "2", "previous": "1", "state_before": "replaced", "record": record()}
        | changed
    )


def noted(client, value):
    client.set_registered_model_tag(NAME, TAG, value if isinstance(value, str) else json.dumps(asdict(value)))


def champions():
    return alias_version(NAME, "champion"), alias_version(NAME, "previous")


def test_what_can_be_finished_is(client):
    noted(client, intent())
    (said,) = recover(NAME, who="you")
    assert said == f"a promotion that was cut off is finished: {NAME} version 2 is the champion"
    assert champions() == ("2", "1")
    assert recover(NAME, who="you") == []


def test_a_version_that_is_gone_is_dropped_and_recorded_and_promotion_goes_on(client):
    noted(client, intent(after="9"))
    (said,) = recover(NAME, who="you")
    assert said == (
        f"a promotion of {NAME} that was cut off can't be finished, since version 9 is gone: it is dropped; "
        "version 1 is the champion"
    )
    assert champions() == ("1", None)
    last = history(NAME).iloc[-1]
    assert (last["action"], last["who"], last["from"]) == ("dropped", "you", "v1")
    with registry_lock(NAME, who="me") as held:
        move_champion(NAME, intent(), held)
    assert champions() == ("2", "1")


@pytest.mark.parametrize("edited", ["", "{}", "[1]", '{"before": "1"}', "null", "not JSON"])
def test_an_edited_note_is_dropped(client, edited):
    noted(client, edited or " ")
    (said,) = recover(NAME, who="you")
    assert "since its note can't be read: it is dropped; version 1 is the champion" in said
    assert TAG not in client.get_registered_model(NAME).tags


def test_without_any_champion_the_way_out_is_said(client):
    client.delete_registered_model_alias(NAME, "champion")
    noted(client, intent(after="9", before="", previous=""))
    (said,) = recover(NAME, who="you")
    assert said.endswith("it is dropped; there is no champion, promote a run again")


def test_a_former_champion_or_record_that_is_gone_is_no_hindrance(client):
    own = intent()
    noted(client, own)
    mlflow.delete_run(own.record)
    client.delete_registered_model_alias(NAME, "champion")
    client.delete_model_version(NAME, "1")
    (said,) = recover(NAME, who="you")
    assert said.startswith(f"a promotion that was cut off is finished: {NAME} version 2 is the champion")
    assert champions() == ("2", None)
    assert state_of(NAME, "2") == "champion"


def test_an_alias_that_was_moved_by_hand_in_the_middle_is_seen(client):
    with registry_lock(NAME, who="me") as held:
        client.set_registered_model_alias(NAME, "champion", "3")
        with pytest.raises(
            PromotionError, match="was set to version 3 by someone else while version 1 was being replaced"
        ):
            move_champion(NAME, intent(), held)
    assert champions() == ("3", None)


def test_a_lock_that_was_lost_moves_nothing(client):
    with registry_lock(NAME, who="me") as held:
        client.delete_registered_model(held.name)
        with pytest.raises(PromotionError, match="was lost"):
            move_champion(NAME, intent(), held)
    assert champions() == ("1", None)
    assert TAG not in client.get_registered_model(NAME).tags


def test_no_champion_is_what_the_registry_says_and_not_what_a_busy_one_looks_like(client, monkeypatch):
    assert alias_version(NAME, "nobody") is None
    assert alias_version("no such model", "champion") is None

    def unavailable(self, name, alias):
        raise MlflowException("API request to http://x failed: too many 503 error responses")

    monkeypatch.setattr(mlflow.MlflowClient, "get_model_version_by_alias", unavailable)
    for ask in (lambda: alias_version(NAME, "champion"), lambda: rollback_intent(NAME)):
        with pytest.raises(PromotionError, match=r"503 error responses.*nothing was decided, try again"):
            ask()

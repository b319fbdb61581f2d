"""Against the store of the other tests, with models of names of its own."""

import mlflow
import pytest
from mlflow.exceptions import MlflowException

from ich_mlflow.errors import PromotionError
from ich_mlflow.tracking import lock as module
from ich_mlflow.tracking.lock import Held, registry_lock


@pytest.fixture
def client(workspace):
    client = mlflow.MlflowClient()
    yield client
    for model in client.search_registered_models("name LIKE 'locked%'"):
        client.delete_registered_model(model.name)


def test_a_lock_that_was_lost_on_the_way_is_noticed(client):
    with registry_lock("locked", who="me") as held:
        held.expect_held()
        client.delete_registered_model("locked.lock")
        client.create_registered_model("locked.lock", tags={"token": "another's"})
        with pytest.raises(
            PromotionError, match=r"the lock locked\.lock was lost while this promotion acted"
        ):
            held.expect_held()
    assert client.get_registered_model("locked.lock").tags["token"] == "another's"


def test_a_slow_breaker_does_not_delete_the_next_holders_lock(client):
    """Two find the same stale lock; one breaks it and another takes it; then the second acts on what it had seen."""
    client.create_registered_model("locked.lock", tags={"token": "stale"})
    clock = module._ServerClock(client, Held("locked.lock", "t"))
    client.create_registered_model("locked.lock.stale")  # the first one's right to break it
    module._break(client, "locked.lock", "stale", clock)
    assert client.get_registered_model("locked.lock").tags["token"] == "stale"
    client.delete_registered_model("locked.lock.stale")
    module._break(client, "locked.lock", "stale", clock)
    with pytest.raises(MlflowException):
        client.get_registered_model("locked.lock")
    client.create_registered_model("locked.lock", tags={"token": "next"})
    module._break(client, "locked.lock", "stale", clock)
    assert client.get_registered_model("locked.lock").tags["token"] == "next"


def test_the_right_of_a_breaker_that_died_is_forgotten_too(client, monkeypatch):
    client.create_registered_model("locked.lock", tags={"token": "stale"})
    client.create_registered_model("locked.lock.stale")
    monkeypatch.setattr(module, "FORGOTTEN_S", -1.0)
    with registry_lock("locked", who="me") as held:
        assert client.get_registered_model("locked.lock").tags["token"] == held.token


def test_ages_are_by_the_registrys_clock(client, monkeypatch):
    monkeypatch.setattr(module.time, "time", lambda: 0.0)  # a client whose clock stands
    clock = module._ServerClock(client, Held("locked.lock", "t"))
    client.create_registered_model("locked.lock", tags={"token": "x"})
    since = float(module._holder(client, "locked.lock")["since"])
    # of one clock, whatever it shows
    assert abs(clock.now() - since) < 5


def test_a_registry_that_does_not_answer_holds_nothing_back(client, monkeypatch):
    def unavailable(self, name):
        raise MlflowException("API request failed with 503")

    monkeypatch.setattr(mlflow.MlflowClient, "get_registered_model", unavailable)
    with pytest.raises(PromotionError, match="gives no answer that can be relied on"):
        module._holder(client, "locked.lock")


def test_machines_of_one_name_differ_by_their_start_and_process_namespace(monkeypatch):
    here = module.machine()
    assert here == module.machine()
    monkeypatch.setattr(module.os, "readlink", lambda path: "pid:[1]")
    assert module.machine() != here

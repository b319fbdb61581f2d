"""A tracking store of promote's own: it looks for candidates through every experiment of a store.

Runs of other tests, which share a process with these, would be candidates too.
"""

import mlflow
import pytest

from tests.stages.promote.contenders import EXPERIMENT


@pytest.fixture(autouse=True, scope="package")
def own_store(workspace):
    mlflow.set_tracking_uri(f"sqlite:///{workspace / 'promotions.db'}")
    mlflow.set_experiment(EXPERIMENT)
    yield
    mlflow.set_tracking_uri(f"sqlite:///{workspace / 'mlflow.db'}")
    mlflow.set_experiment("tests")

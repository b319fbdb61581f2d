"""A tracking store of recalibrate's own: its trainings would be candidates of other tests' promotions."""

import mlflow
import pytest


@pytest.fixture(autouse=True, scope="package")
def own_store(workspace):
    mlflow.set_tracking_uri(f"sqlite:///{workspace / 'recalibrations.db'}")
    mlflow.set_experiment("recalibrations")
    yield
    mlflow.set_tracking_uri(f"sqlite:///{workspace / 'mlflow.db'}")
    mlflow.set_experiment("tests")

"""What MLflow loads at start where this package is installed: a default experiment, a store that two first commands
may make at once, `mlflow run` from another folder, and the bare `mlflow run` on a machine without conda.

conda.yaml is the one environment file that every env manager of MLflow can use, but with it a bare
`mlflow run .` insists on conda. For this project only, where no env manager was named and no conda is to be
found, the run goes on in the environment that mlflow itself runs in, and says so.

It is no part of the package `ich_mlflow`, and imports nothing of it: MLflow loads it in every process, also in
the one that serves a model version, and there `ich_mlflow` must be the version's own copy of the code, and not the one
that is installed (docs/decisions/0012-models-of-other-versions.md).
"""

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import wrapt
from mlflow.tracking.default_experiment.abstract_context import DefaultExperimentProvider

from ich_mlflow_plugin.new_store import lock_new_stores
from ich_mlflow_plugin.project_run import is_ours, is_project, with_caller

PROJECT_NAME = "ich_mlflow"
#: Opens the experiment in the UI as model training rather than as GenAI.
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}


class ProjectExperiment(DefaultExperimentProvider):
    """Runs started inside the project's folder, or by its commands, belong to the experiment `ich_mlflow`.

    is_launched: whether this process is one of its commands.
    """

    is_launched = False

    def in_context(self) -> bool:
        return self.is_launched or is_project(Path.cwd())

    def get_experiment_id(self) -> str:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        client = MlflowClient()
        experiment = client.get_experiment_by_name(PROJECT_NAME)
        if experiment is not None:
            return experiment.experiment_id
        try:
            return client.create_experiment(PROJECT_NAME, tags=EXPERIMENT_TAGS)
        except MlflowException:  # another process was first
            existing = client.get_experiment_by_name(PROJECT_NAME)
            if existing is None:
                raise
            return existing.experiment_id


def conda_is_available() -> bool:
    """Whether MLflow would find conda: MLFLOW_CONDA_HOME, CONDA_EXE, or `conda` on PATH."""
    return bool(os.environ.get("MLFLOW_CONDA_HOME") or os.environ.get("CONDA_EXE") or shutil.which("conda"))


def choose_env_manager(project_uri: str, env_manager: str | None) -> str | None:
    """The env manager to use: what was named, else `local` for this project where there is no conda."""
    if env_manager is not None or conda_is_available():
        return env_manager
    if not is_ours(project_uri):
        return env_manager
    return "local"


wrapt.register_post_import_hook(lock_new_stores, "mlflow.store.tracking.sqlalchemy_store")
wrapt.register_post_import_hook(lock_new_stores, "mlflow.store.model_registry.sqlalchemy_store")


@wrapt.when_imported("mlflow.projects")
def _run_for_caller(projects: Any) -> None:
    wrapt.wrap_function_wrapper(projects, "run", with_caller)


@wrapt.when_imported("mlflow.projects.backend.loader")
def _run_without_conda(loader: Any) -> None:
    local = loader.MLFLOW_BACKENDS["local"]

    class LocalWithoutConda(local):  # type: ignore[misc, valid-type]
        def run(
            self,
            project_uri: str,
            entry_point: str,
            params: Any,
            version: Any,
            backend_config: dict[str, Any],
            *rest: Any,
            **named: Any,
        ) -> Any:
            asked = backend_config.get("ENV_MANAGER")
            chosen = choose_env_manager(project_uri, asked)
            if chosen != asked:
                print(
                    f"ich_mlflow: no conda on this machine, so the run uses the environment of {sys.prefix} (pass "
                    "--env-manager uv to build one from conda.yaml)",
                    file=sys.stderr,
                )
                # Where mlflow was called by its path and the environment is not activated, `python` and
                # `uvicorn` must still be this environment's.
                os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
            config = {**backend_config, "ENV_MANAGER": chosen}
            return super().run(project_uri, entry_point, params, version, config, *rest, **named)

    loader.MLFLOW_BACKENDS["local"] = LocalWithoutConda


@wrapt.when_imported("mlflow.projects._project_spec")
def _log_what_was_typed(project_spec: Any) -> None:
    """A run of this project shows the parameters that were typed, and not the defaults of MLproject beside them.

    MLflow asks without a storage folder where it only logs them, and with one where it makes the command.
    """

    def typed_alone(ask: Any, entry_point: Any, given: Any, named: Any) -> Any:
        parameters, more = ask(*given, **named)
        typed, storage = _asked_for(*given, **named)
        if storage is None and entry_point.command.startswith("python -m entrypoints."):
            parameters = {name: value for name, value in parameters.items() if name in (typed or {})}
        return parameters, more

    wrapt.wrap_function_wrapper(project_spec, "EntryPoint.compute_parameters", typed_alone)


def _asked_for(user_parameters: Any, storage_dir: Any) -> tuple[Any, Any]:
    return user_parameters, storage_dir

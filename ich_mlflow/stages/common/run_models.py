"""The models of runs, by the run's id."""

import re

from ich_mlflow.errors import ModelError
from ich_mlflow.stages.common.families import RUN_ID
from ich_mlflow.tracking.looks import TRAINED_TAG
from ich_mlflow.tracking.registry import expect_run
from ich_mlflow.tracking.run import STAGE_TAG


def serving_of_run(text: str) -> str:
    """The URI of a train run's serving model where the text is the run's id, else the text. Raises ModelError."""
    if not re.fullmatch(RUN_ID, text):
        return text
    run = expect_run(text, ModelError)
    if TRAINED_TAG in run.data.tags:
        raise ModelError(
            f"run {text} is a run of {run.data.tags.get(STAGE_TAG)}, expected a train run: pass the one that it is "
            f"about, {run.data.tags[TRAINED_TAG]}"
        )
    return f"runs:/{text}/serving"

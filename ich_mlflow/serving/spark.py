"""A model version as a column of Spark, by MLflow's own spark_udf."""

import logging
import warnings
from typing import Any

import mlflow

from ich_mlflow.serving.request import SKIP


def slices_udf(spark: Any, model_uri: str) -> Any:
    """A pandas UDF that takes struct(dicom), a DICOM file in base64, and gives the struct that the server answers.

    A file that can't be used has its reason in `error`, and nulls. With a model that reads series the rows of a series
    that are in one batch of Arrow are each other's neighbours, so a series must not be torn apart.
    """
    logger = logging.getLogger("mlflow.pyfunc")
    before = logger.level
    logger.setLevel(logging.ERROR)  # its advice on environments: executors have what this process has
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return mlflow.pyfunc.spark_udf(
                spark,
                model_uri,
                env_manager="local",
                params={"on_error": SKIP},
            )
    finally:
        logger.setLevel(before)

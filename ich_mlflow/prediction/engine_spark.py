"""Series scored on Apache Spark by the model version's own spark_udf.

The executors read the files themselves: the driver and they must see the input under the same path.
"""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ich_mlflow.errors import DataError, SliceError
from ich_mlflow.intake.plan import PlannedSeries
from ich_mlflow.models.series import NO_PROBABILITY
from ich_mlflow.prediction.score import CHANGED, SeriesScore, write_score
from ich_mlflow.serving.classifier import Specification
from ich_mlflow.serving.response import series_columns
from ich_mlflow.serving.spark import slices_udf
from ich_mlflow.system.spark import spark_session, what_failed

#: Slices of a series that a Python worker holds at a time where they give each other no context.
_BATCH = 32
#: Series in a job, for each core: what a crash costs at most.
_SERIES_A_CORE = 8
_BATCH_SETTING = "spark.sql.execution.arrow.maxRecordsPerBatch"
_ROW = re.compile(r"^row \d+:?")


def score_on_spark(
    series: Sequence[PlannedSeries],
    specification: Specification,
    model_uri: str,
    notes: Path,
    *,
    master: str,
) -> Iterator[int]:
    """Score each series and write its note here; yield how many slices are done, job by job.

    master: a Spark master URL; ignored where a session is active. Raises OptionError without PySpark or Java,
    DataError where a job fails.
    """
    with spark_session(master, name="ich_mlflow predict") as spark:
        longest = max(len(one.files) for one in series)
        before = spark.conf.get(_BATCH_SETTING)
        # A series that is torn apart would lose neighbours at the tear.
        spark.conf.set(_BATCH_SETTING, str(longest if specification.reads_series else _BATCH))
        try:
            udf = slices_udf(spark, model_uri)
            step = _SERIES_A_CORE * spark.sparkContext.defaultParallelism
            for start in range(0, len(series), step):
                part = series[start : start + step]
                scores = _scores(spark, udf, part, specification)
                for one, score in zip(part, scores, strict=True):
                    write_score(notes, one.key, score)
                    yield len(one.files)
        finally:
            spark.conf.set(_BATCH_SETTING, before)


def _scores(
    spark: Any, udf: Any, series: Sequence[PlannedSeries], specification: Specification
) -> list[SeriesScore]:
    """One job: a partition a series."""
    from pyspark.sql.functions import col, pandas_udf, struct

    rows = [
        [
            (number, place, str(file.path.absolute()), one.sop_uids[place], one.patient_ids[place])
            for place, file in enumerate(one.files)
        ]
        for number, one in enumerate(series)
    ]
    try:
        partitions = spark.sparkContext.parallelize(rows, len(rows)).flatMap(list)
        frame = spark.createDataFrame(
            partitions, "series int, place int, path string, sop_uid string, patient_id string"
        )
        read = pandas_udf(_in_base64, "dicom string, why string")  # type: ignore[call-overload]
        files = frame.withColumn("file", read(col("path"), col("sop_uid"), col("patient_id")))
        said = files.withColumn("dicom", col("file.dicom")).withColumn("said", udf(struct(col("dicom"))))
        columns = [col("said")[f"score_{label}"].alias(label) for label in specification.labels]
        columns += [col("said")[name] for name in series_columns(specification)]
        chosen = [
            col("series"),
            col("place"),
            col("said.warnings"),
            col("said.error"),
            col("file.why"),
            *columns,
        ]
        collected = said.select(*chosen).collect()
    except Exception as error:  # Py4J wraps whatever failed, here or there.
        raise DataError(f"{what_failed(error)}: the same command goes on from here") from None
    found: list[list[Any]] = [[] for _ in series]
    for row in sorted(collected, key=lambda row: (row["series"], row["place"])):
        found[row["series"]].append(row)
    return [_score(rows_of_one, specification) for rows_of_one in found]


def _score(rows: Sequence[Any], specification: Specification) -> SeriesScore:
    labels, of_series = specification.labels, series_columns(specification)
    usable = [row for row in rows if not row["error"]]
    errors = tuple(row["why"] or _ROW.sub("the file", row["error"] or "") for row in rows)
    exam = tuple(float(usable[0][name]) for name in of_series) if usable else ()
    return SeriesScore(
        exam=exam,
        outputs=tuple(() if row["error"] else tuple(float(row[label]) for label in labels) for row in rows),
        warnings=tuple(tuple(row["warnings"] or ()) for row in rows),
        errors=errors,
        may_pass=any(row["why"] for row in rows) or any(NO_PROBABILITY in error for error in errors),
    )


def _in_base64(paths, sop_uids, patient_ids):  # type: ignore[no-untyped-def]
    """On an executor: each file's bytes, or why there are none: it can't be read, or is another image than planned."""
    import base64

    import pandas as pd

    from ich_mlflow.dicom.image_header import read_image_header

    def read(path: str, sop_uid: str, patient_id: str) -> tuple[str | None, str]:
        try:
            with open(os.fspath(path), "rb") as file:
                data = file.read()
        except OSError as error:
            return None, f"the file can't be read ({error.strerror}): check its permissions"
        try:
            header = read_image_header(Path(path))
            identity = (header.sop_uid, header.patient_id)
        except SliceError:  # what it is instead, the model says
            identity = (sop_uid, patient_id)
        if identity != (sop_uid, patient_id):
            return None, CHANGED
        return base64.b64encode(data).decode(), ""

    found = [read(*one) for one in zip(paths, sop_uids, patient_ids, strict=True)]
    return pd.DataFrame(found, columns=["dicom", "why"])

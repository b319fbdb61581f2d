"""Apache Spark's session: where it comes from, and what it says when it fails."""

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any

from ich_mlflow.errors import OptionError
from ich_mlflow.system.quiet import native_stderr_muted

_MISSING = "engine=spark needs PySpark and Java 17: pip install -e '.[spark]' (or pass -P engine=local)"


@contextlib.contextmanager
def spark_session(master: str, *, name: str) -> Iterator[Any]:
    """The active Spark session (a notebook's, Databricks'), or one of our own that ends with the work.

    master: a Spark master URL, as local[*] or spark://host:7077, of our own one. Raises OptionError without PySpark,
    Java or master.
    """
    try:
        with native_stderr_muted():
            from pyspark.sql import SparkSession
    except ImportError:
        raise OptionError(_MISSING) from None
    active = SparkSession.getActiveSession()
    if active is not None:
        yield active
        return
    # pandas 3 is too new for PySpark, which says so at every turn; only Arrow is used of the two.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"pyspark\.")
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.master(master).appName(name)
    if master.startswith("local"):
        # Nothing but this machine has to reach the driver.
        for key in ("spark.driver.bindAddress", "spark.driver.host"):
            builder = builder.config(key, "127.0.0.1")
    builder = builder.config("spark.ui.enabled", "false").config("spark.ui.showConsoleProgress", "false")
    try:
        with native_stderr_muted():
            spark = builder.getOrCreate()
    except Exception as error:
        raise OptionError(f"no Spark session on {master} ({what_failed(error)}). {_MISSING}") from None
    spark.sparkContext.setLogLevel("OFF")
    try:
        yield spark
    finally:
        spark.stop()


def what_failed(error: Exception) -> str:
    """The line of a Spark failure that says what went wrong: Python's last, of pages of Java."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    ours = [line.split("Error: ", 1)[1] for line in lines if line.startswith("ich_mlflow.errors.")]
    return ours[-1] if ours else f"Spark failed: {lines[0][:300] if lines else type(error).__name__}"

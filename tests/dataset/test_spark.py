import shutil

import pytest

from ich_mlflow.dataset.build import SPARK, BuildOptions, build_stored_set
from ich_mlflow.errors import DataError, OptionError, QuarantineError
from ich_mlflow.sources.rsna import RsnaSource
from tests.factories import interrupt_reading, write_rsna

pytest.importorskip("pyspark", reason="PySpark is not installed: pip install -e '.[dev]'")
pytestmark = pytest.mark.skipif(shutil.which("java") is None, reason="Spark needs Java, and there is none")

LOCAL = BuildOptions(seed=1, workers=1)
ON_SPARK = BuildOptions(seed=1, engine=SPARK, spark_master="local[2]")


@pytest.fixture(scope="module", autouse=True)
def session():
    """One session for the module: starting Java takes seconds. As in a notebook, it is there already."""
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    for key in ("spark.driver.bindAddress", "spark.driver.host"):
        builder = builder.config(key, "127.0.0.1")
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    yield session
    session.stop()


def build(source, out, options):
    return build_stored_set(source, out, options, progress=False)


def test_spark_gives_the_same_files_as_one_process(tmp_path):
    source = RsnaSource(str(write_rsna(tmp_path / "rsna", num_patients=40)))
    build(source, tmp_path / "local", LOCAL)
    build(source, tmp_path / "spark", ON_SPARK)
    names = sorted(path.name for path in (tmp_path / "local").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "spark").iterdir())
    for name in names:
        assert (tmp_path / "local" / name).read_bytes() == (tmp_path / "spark" / name).read_bytes(), name


def test_spark_reads_a_url_as_it_reads_a_path(tmp_path):
    folder = write_rsna(tmp_path / "rsna", num_patients=8)
    by_path = build(RsnaSource(str(folder)), tmp_path / "path", LOCAL)
    by_url = build(RsnaSource(f"file://{folder}"), tmp_path / "url", ON_SPARK)
    assert by_url.digest == by_path.digest


def test_spark_goes_on_where_one_process_was_interrupted(tmp_path, monkeypatch):
    source = RsnaSource(str(write_rsna(tmp_path / "rsna", num_patients=40)))
    interrupt_reading(monkeypatch, after=90)
    with pytest.raises(KeyboardInterrupt):
        build(source, tmp_path / "set", LOCAL)
    monkeypatch.undo()
    said = []
    stored = build_stored_set(source, tmp_path / "set", ON_SPARK, progress=False, say=said.append)
    assert "from an earlier run" in said[0]
    assert stored.digest == build(source, tmp_path / "other", LOCAL).digest


def test_the_quarantine_limit_holds_on_spark(tmp_path):
    folder = write_rsna(tmp_path / "rsna", num_patients=8)
    (folder / "stage_2_train" / "ID_000000003.dcm").write_bytes(b"no DICOM")
    with pytest.raises(QuarantineError, match="ID_000000003"):
        build(RsnaSource(str(folder)), tmp_path / "set", ON_SPARK)


def test_a_folder_that_executors_cannot_write_is_one_line(tmp_path, monkeypatch):
    source = RsnaSource(str(write_rsna(tmp_path / "rsna", num_patients=8)))

    def elsewhere(out):
        return tmp_path / "nowhere" / "set.partial"

    monkeypatch.setattr("ich_mlflow.dataset.build.partial_folder", elsewhere)
    with pytest.raises(DataError, match=r"nowhere/set\.partial can't be written") as caught:
        build(source, tmp_path / "set", ON_SPARK)
    assert "\n" not in str(caught.value)


def test_shards_that_the_driver_does_not_see_are_one_line(tmp_path, monkeypatch):
    source = RsnaSource(str(write_rsna(tmp_path / "rsna", num_patients=8)))
    monkeypatch.setattr("ich_mlflow.dataset.engine_spark._GRACE_SECONDS", 1.0)

    def elsewhere(folder, number):
        return tmp_path / "driver" / f"{number:05d}.parquet"

    monkeypatch.setattr("ich_mlflow.dataset.engine_spark.journal_path", elsewhere)
    with pytest.raises(DataError, match="the driver and every executor see under the same path"):
        build(source, tmp_path / "set", ON_SPARK)


def test_without_pyspark_the_extra_is_named(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pyspark.sql", None)
    source = RsnaSource(str(write_rsna(tmp_path / "rsna", num_patients=8)))
    with pytest.raises(OptionError, match=r"pip install -e '\.\[spark\]'"):
        build(source, tmp_path / "set", ON_SPARK)

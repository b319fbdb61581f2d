import pytest

from ich_mlflow.dataset.plan import slices_per_shard
from ich_mlflow.dataset.preflight import duration, size


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (131072, "131 kB"),
        (98.7e9, "98.7 GB"),
        (4.6e11, "460 GB"),
        (1.2e12, "1.2 TB"),
    ],
)
def test_sizes_are_written_as_on_disks(num_bytes, text):
    assert size(num_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "1 s"), (89, "89 s"), (100, "2 min"), (960, "16 min"), (7200, "2.0 h")]
)
def test_durations_are_rough(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(("num_slices", "expected"), [(1, 32), (1024, 32), (3200, 100), (752_803, 1024)])
def test_the_cut_into_shards_depends_on_the_number_of_slices_alone(num_slices, expected):
    assert slices_per_shard(num_slices) == expected

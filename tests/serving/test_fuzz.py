"""A few hundred broken files; `python -m benchmarks.fuzz` has a hundred thousand."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.fuzz import corpus, mutated, outcome


@pytest.fixture(scope="module")
def files():
    return corpus(32, jpeg_lossless=False)


def test_the_files_to_be_broken_are_sound(files):
    assert [outcome(data) for data in files] == ["read"] * 6


@settings(max_examples=300, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1))
def test_a_broken_file_is_read_or_refused_in_one_line(files, seed):
    assert outcome(mutated(files, np.random.default_rng(seed))) in ("read", "refused")


@settings(max_examples=200, deadline=2000)
@given(data=st.binary(max_size=2000))
def test_bytes_that_are_no_dicom_are_refused_in_one_line(data):
    assert outcome(data) == "refused"

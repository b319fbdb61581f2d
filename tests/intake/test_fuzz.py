"""A few hundred broken headers; `python -m benchmarks.fuzz --what headers` has a hundred thousand."""

import random

import pytest

from benchmarks.fuzz_headers import CHOSEN, NO_IMAGE, OUTCOMES, fuzzed, fuzzed_studies, outcome_of_headers
from benchmarks.header_changes import Element, elements_of, written
from ich_mlflow.intake.files import files_of

#: A header that is broken may well make pydicom warn, which predict keeps to itself.
pytestmark = pytest.mark.filterwarnings(r"ignore::UserWarning:pydicom.*")
CASES = ("cut", "slice_location", "contrast_alone")


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    return fuzzed_studies(tmp_path_factory.mktemp("sound") / "studies", cases=CASES)


def test_the_studies_to_be_broken_are_sound_and_written_to_the_byte(studies):
    outcomes = [outcome_of_headers(files_of(study.paths[0].parents[1])) for study in studies]
    assert outcomes == [CHOSEN, CHOSEN, "no series, and why"]
    data = studies[0].paths[0].read_bytes()
    assert written(elements_of(data)) == data


def test_an_element_is_written_as_it_is_told_to_be():
    lie = Element(tag=0x00200013, vr=b"IS", value=b"7 ", length=9)
    assert written([lie])[132:] == b"\x20\0\x13\0IS\x09\x007 "
    assert written([lie], implicit=True)[132:] == b"\x20\0\x13\0\x09\0\0\x007 "


@pytest.mark.parametrize("seed", range(4))
def test_broken_headers_end_in_a_choice_or_in_a_line(studies, tmp_path, seed):
    rng = random.Random(seed)
    for study in studies:
        files, changed = fuzzed(study, tmp_path, rng)
        assert changed > 0
        assert outcome_of_headers(files) in OUTCOMES


def test_a_sentence_that_is_none_is_noticed(studies, tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.fuzz_headers.why_cut", lambda images: "1 slices of nan mm")
    with pytest.raises(ValueError, match="an unclean line: '1 slices of nan mm'"):
        outcome_of_headers(files_of(studies[0].paths[0].parents[1]))
    empty = tmp_path / "empty"
    empty.write_bytes(b"")
    assert outcome_of_headers(files_of(empty)) == NO_IMAGE

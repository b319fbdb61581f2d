import json

import numpy as np
import pytest

from ich_mlflow.dataset.build import build_stored_set
from ich_mlflow.dataset.split import assert_disjoint
from ich_mlflow.errors import DataError, SliceError, SplitError
from ich_mlflow.sources.rsna import RsnaSource
from tests.factories import EPIDURAL_BLEED, NO_BLEED, ArraySource, write_rsna

LABELS = [NO_BLEED, EPIDURAL_BLEED] * 4


def build(folder, source=None, **options):
    source = source or ArraySource(folder, LABELS)
    return build_stored_set(
        source, folder / "set", **({"seed": 1, "workers": 1, "progress": False} | options)
    )


def test_slices_are_resampled_ordered_and_split_by_patient(tmp_path):
    stored = build(tmp_path)
    assert len(stored.table) == 32
    # patient 0's slices 0 … 3 stand from the head down in the source, from the neck up in the set
    assert stored.table["sop_uid"].tolist()[:4] == ["s0003", "s0002", "s0001", "s0000"]
    assert stored.hu(np.arange(4))[:, 200, 100].tolist() == [3, 2, 1, 0]
    assert_disjoint(stored.table["patient_id"].to_numpy(), stored.table["split"].to_numpy())
    assert set(stored.table["split"]) == {"train", "validation", "test"}
    assert not stored.reused


def test_spacing_is_that_of_the_stored_pixels(tmp_path):
    stored = build(tmp_path)
    # 0.5 x 0.4 mm at 512 is 1.0 x 0.8 mm at 256
    assert stored.table["row_spacing_mm"].unique().tolist() == [1.0]
    assert stored.table["column_spacing_mm"].unique().tolist() == [0.8]


def test_a_complete_set_is_reused(tmp_path):
    built = build(tmp_path)
    reused = build(tmp_path)
    assert reused.reused
    assert reused.digest == built.digest


@pytest.mark.parametrize(
    "options", [{"seed": 2}, {"fractions": (0.5, 0.25, 0.25)}, {"source_options": {"x": 1}}]
)
def test_a_set_made_with_other_options_is_refused(tmp_path, options):
    build(tmp_path)
    with pytest.raises(DataError, match="other options"):
        build(tmp_path, **options)


def test_a_set_made_from_other_labels_is_refused(tmp_path):
    build(tmp_path)
    with pytest.raises(DataError, match="other source files or labels"):
        build(tmp_path, ArraySource(tmp_path, [EPIDURAL_BLEED] * 8))


def test_the_same_seed_gives_the_same_digest_in_another_folder(tmp_path):
    assert build(tmp_path / "a").digest == build(tmp_path / "b").digest


def test_processes_give_the_same_set_as_one(tmp_path):
    source = RsnaSource(write_rsna(tmp_path / "rsna", num_patients=20))
    alone = build_stored_set(source, tmp_path / "one", seed=1, workers=1, progress=False)
    together = build_stored_set(source, tmp_path / "two", seed=1, workers=2, progress=False)
    assert together.digest == alone.digest
    assert len(together.table) == 60


def test_the_first_unusable_slice_stops_the_build_and_leaves_nothing(tmp_path):
    with pytest.raises(SliceError, match="s0005 is broken"):
        build(tmp_path, ArraySource(tmp_path, LABELS, broken="s0005"))
    assert [path.name for path in tmp_path.iterdir()] == ["slice"]


def test_an_unusable_slice_in_a_process_is_one_line_without_a_traceback(tmp_path, capfd):
    source = RsnaSource(write_rsna(tmp_path / "rsna", num_patients=20))
    (tmp_path / "rsna" / "stage_2_train" / "ID_000000007.dcm").write_bytes(b"not dicom")
    with pytest.raises(SliceError, match="ID_000000007") as caught:
        build_stored_set(source, tmp_path / "set", seed=1, workers=2, progress=False)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert "Traceback" not in capfd.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["rsna"]


def test_progress_goes_to_stderr_and_only_when_asked_for(tmp_path, capsys):
    build(tmp_path / "quiet")
    assert capsys.readouterr() == ("", "")
    build(tmp_path / "loud", progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "32/32" in captured.err


def test_a_source_without_slices_is_refused(tmp_path):
    with pytest.raises(DataError, match="no labelled slices"):
        build(tmp_path, ArraySource(tmp_path, []))


def test_too_few_patients_are_refused_and_leave_nothing(tmp_path):
    with pytest.raises(SplitError, match="2 patients"):
        build(tmp_path, ArraySource(tmp_path, LABELS[:2]))
    assert [path.name for path in tmp_path.iterdir()] == ["slice"]


def test_a_folder_with_something_else_in_it_is_refused(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "thesis.docx").touch()
    with pytest.raises(DataError, match="isn't empty"):
        build(tmp_path)
    assert (tmp_path / "set" / "thesis.docx").exists()


def test_the_manifest_tells_how_the_set_was_made(tmp_path):
    build(tmp_path, source_options={"kind": "made up"})
    manifest = json.loads((tmp_path / "set" / "manifest.json").read_text())
    assert manifest["source"] == "array"
    assert manifest["options"]["seed"] == 1
    assert manifest["options"]["source_options"] == {"kind": "made up"}
    assert sum(counts["slices"] for counts in manifest["counts"].values()) == 32

import json
import pickle
import shutil
from dataclasses import replace

import numpy as np
import pytest

from ich_mlflow.dataset.build import BuildOptions, build_stored_set
from ich_mlflow.dataset.drawn import DrawnSource
from ich_mlflow.dataset.store import MANIFEST, StoredSet
from ich_mlflow.dicom.slice import Slice
from ich_mlflow.errors import DataError, OptionError
from ich_mlflow.labels import SUBTYPES
from ich_mlflow.phantom.exam import ExamOptions, make_exam
from ich_mlflow.sources.base import LabelledFile

PATIENTS, SLICES = 6, 24
#: The only patient who bleeds.
BLEEDING = "p5"
OPTIONS = BuildOptions(seed=0, workers=1, training_only=True)


class Heads:
    """Phantom heads as a source, one patient labelled as bleeding."""

    name, label_level, overlap = "heads", "slice", "made up, no patient"

    def __init__(self):
        exams = [make_exam(ExamOptions(seed=3, exam_rate=0.0, rows=256), number) for number in range(2)]
        self.heads = [np.maximum(exam.hu[-SLICES:], -1024) for exam in exams]

    def files(self):
        return [
            LabelledFile(
                sop_uid=f"p{p}_{k:02d}",
                path=f"p{p}_{k:02d}",
                subtypes=(int(f"p{p}" == BLEEDING and k == 3), 0, 0, 0, 0),
                num_bytes=1,
                modified_ns=0,
            )
            for p in range(PATIENTS)
            for k in range(SLICES)
        ]

    def rejected(self):
        return []

    def audit(self):
        return {}

    def chosen_series(self):
        return []

    def read(self, file):
        patient, number = file.sop_uid.split("_")
        return Slice(
            hu=self.heads[int(patient[1:]) % 2][int(number)],
            sop_uid=file.sop_uid,
            patient_id=patient,
            study_uid=f"{patient}_study",
            series_uid=f"{patient}_series",
            position_mm=5.0 * int(number),
            pixel_spacing_mm=None,
        )


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    return build_stored_set(Heads(), folder / "set", BuildOptions(seed=0, workers=1), progress=False)


@pytest.fixture(scope="module")
def drawn(home, tmp_path_factory):
    source = DrawnSource(str(home.path), copies=2, seed=4)
    return build_stored_set(source, tmp_path_factory.mktemp("drawn") / "set", OPTIONS, progress=False)


def _free_training_patients(home):
    table = home.table
    return set(table.loc[table["split"] == "train", "patient_id"]) - {BLEEDING}


def test_bleed_free_heads_of_the_training_split_are_drawn_each_copies_times(home, drawn):
    patients = _free_training_patients(home)
    assert set(drawn.table["patient_id"]) == patients
    assert len(drawn.table) == 2 * SLICES * len(patients)
    assert set(drawn.table["split"]) == {"train"}
    assert set(drawn.table["fold"]) == {-1}


def test_patients_keep_their_ids_and_studies_series_and_slices_get_others(home, drawn):
    assert drawn.table["sop_uid"].is_unique
    assert (
        drawn.table["series_uid"].nunique()
        == drawn.table["study_uid"].nunique()
        == len(drawn.table) // SLICES
    )
    for column in ("sop_uid", "study_uid", "series_uid"):
        assert not set(drawn.table[column]) & set(home.table[column])


def test_with_folds_every_patient_outside_test_is_drawn(home, tmp_path):
    with_folds = build_stored_set(
        Heads(), tmp_path / "set", BuildOptions(seed=0, workers=1, folds=2), progress=False
    )
    table = with_folds.table
    patients = {DrawnSource(str(with_folds.path)).read(f).patient_id for f in _firsts(with_folds)}
    assert patients == set(table.loc[table["split"] != "test", "patient_id"]) - {BLEEDING}
    assert len(patients) > len(_free_training_patients(with_folds))


def _firsts(stored):
    """The first slice of each variant."""
    return DrawnSource(str(stored.path)).files()[::SLICES]


def test_labels_are_those_of_the_masks(home, drawn):
    source = DrawnSource(str(home.path), copies=2, seed=4)
    table = drawn.table.set_index("sop_uid")
    bits = 1 << np.arange(5)
    assert drawn.subtypes.any()
    for file in source.files()[: 2 * SLICES]:
        one = source.read(file)
        seen = ((one.blood[None] & bits[:, None, None]) > 0).any(axis=(1, 2)).astype(int)
        assert tuple(seen) == one.subtypes
        np.testing.assert_array_equal(table.loc[file.sop_uid, list(SUBTYPES)].to_numpy(int), seen)


def test_the_same_seed_makes_the_same_set_with_any_number_of_processes(home, drawn, tmp_path):
    source = DrawnSource(str(home.path), copies=2, seed=4)
    again = build_stored_set(source, tmp_path / "set", replace(OPTIONS, workers=2), progress=False)
    assert again.digest == drawn.digest
    names = [{f.sop_uid for f in DrawnSource(str(home.path), copies=2, seed=s).files()} for s in (4, 5)]
    assert not names[0] & names[1]


def test_a_finished_set_is_found_again(home, drawn):
    source = DrawnSource(str(home.path), copies=2, seed=4)
    assert build_stored_set(source, drawn.path, OPTIONS, progress=False).reused
    with pytest.raises(DataError, match="made with other"):
        build_stored_set(DrawnSource(str(home.path), copies=2, seed=5), drawn.path, OPTIONS, progress=False)


def test_workers_get_a_copy_that_reads_the_same(home):
    source = DrawnSource(str(home.path), subtypes=("subdural",), seed=1, sham_share=0.0)
    copy = pickle.loads(pickle.dumps(source))
    assert copy == source
    file = source.files()[SLICES // 2]
    np.testing.assert_array_equal(copy.read(file).hu, source.read(file).hu)


def test_all_sham_edits_and_all_blood_can_be_asked_for(home):
    sham = DrawnSource(str(home.path), sham_share=1.0)
    assert not any(any(sham.read(file).subtypes) for file in sham.files())
    blood = DrawnSource(str(home.path), sham_share=0.0, subtypes=("intraparenchymal",))
    labels = np.array([blood.read(file).subtypes for file in blood.files()])
    assert labels[:, 1].any()
    assert not labels[:, [0, 2, 3, 4]].any()


def test_the_slice_before_is_at_hand(home):
    source = DrawnSource(str(home.path), sham_share=1.0)
    uid = source.files()[0].sop_uid
    first = home.rows("train")[0]
    np.testing.assert_array_equal(source.before([uid])[0], home.hu(np.array([first]))[0])


def test_a_head_without_a_skull_is_left_out_and_counted_apart(home, tmp_path):
    shutil.copytree(home.path, tmp_path / "set")
    for file in (tmp_path / "set").glob("hu-*.npy"):
        np.save(file, np.full_like(np.load(file), 30))
    source = DrawnSource(str(tmp_path / "set"))
    with pytest.raises(DataError, match="no slice can be used"):  # and not that too many can't
        build_stored_set(source, tmp_path / "drawn", OPTIONS, progress=False)


def test_a_set_that_is_drawn_is_refused(drawn):
    with pytest.raises(DataError, match="is itself drawn, expected a set of real heads"):
        DrawnSource(str(drawn.path)).files()


def test_a_set_without_labels_is_refused(home, tmp_path):
    shutil.copytree(home.path, tmp_path / "set")
    manifest = json.loads((tmp_path / "set" / MANIFEST).read_text())
    (tmp_path / "set" / MANIFEST).write_text(json.dumps({**manifest, "label_level": "none"}))
    with pytest.raises(DataError, match="has no labels"):
        DrawnSource(str(tmp_path / "set")).files()


def test_a_folder_that_is_no_stored_set_is_refused(tmp_path):
    with pytest.raises(DataError, match="is no stored set"):
        DrawnSource(str(tmp_path)).files()


def test_a_set_in_which_every_head_bleeds_is_refused(home, tmp_path):
    shutil.copytree(home.path, tmp_path / "set")
    table = StoredSet.open(home.path).table.assign(subdural=1)
    table.to_parquet(tmp_path / "set" / "slices.parquet")
    with pytest.raises(DataError, match="has no exam without a bleed in its training split"):
        DrawnSource(str(tmp_path / "set")).files()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"copies": 0}, "copies is 0, expected 1 or more"),
        ({"subtypes": ("epidual",)}, "synthesis is 'epidual', expected some of epidural"),
        ({"subtypes": ()}, "synthesis is empty"),
        ({"sham_share": 1.5}, "sham_share is 1.5, expected 0 to 1"),
    ],
)
def test_options_out_of_range_are_refused(changed, message):
    with pytest.raises(OptionError, match=message):
        DrawnSource("anything", **changed)


def test_a_set_that_is_only_trained_on_takes_no_folds():
    with pytest.raises(OptionError, match="folds is 5 and external is False"):
        BuildOptions(seed=0, folds=5, training_only=True)

import hashlib
import json

import numpy as np
import pytest

from ich_mlflow.errors import ModelError
from ich_mlflow.models.ancestry import IMAGENET, Ancestor, Ancestry, hashes, not_known


def ids(*patients, studies=None, series=None):
    """Ids by column; studies and series are the patients' unless said."""
    return {"patient_id": patients, "study_uid": studies or patients, "series_uid": series or patients}


def ancestor(name, *patients, digest="d" * 64, **others):
    said = ids(*patients, **others)
    seen = {"patients": said["patient_id"], "studies": said["study_uid"], "series": said["series_uid"]}
    return Ancestor(
        name=name, source="rsna", digest=digest, seen={kind: hashes(one) for kind, one in seen.items()}
    )


def test_a_hash_is_the_first_eight_bytes_of_sha_256_and_empty_ids_have_none():
    (found,) = hashes(["ID_00d5b0b1", "", "ID_00d5b0b1"])
    assert found == int(hashlib.sha256(b"ID_00d5b0b1").hexdigest()[:16], 16)
    assert hashes([]).tolist() == []
    assert hashes("abc").tolist() == sorted(hashes("cba").tolist())


def test_what_is_shared_is_counted_newest_first_by_patients_else_studies_else_series():
    first = ancestor("run 1", "a", "b", "c")
    renamed = ancestor("run 2", "x", "y", studies=("s", "t"), series=("q", "r"))
    ancestry = Ancestry((first, renamed))
    assert ancestry.shared_with(ids("d", "e")) == []
    (one,) = ancestry.shared_with(ids("b", "c", "d"))
    assert (one.ancestor, one.kind, one.count) == (first, "patients", 2)
    found = ancestry.shared_with(ids("n", "a", studies=("s", "z"), series=("q", "r")))
    assert [(one.ancestor, one.kind, one.count) for one in found] == [
        (renamed, "studies", 1), (first, "patients", 1),
    ]  # fmt: skip
    (by_series,) = ancestry.shared_with(ids("n", studies=("z",), series=("q", "r")))
    assert (by_series.kind, by_series.count) == ("series", 2)


def test_the_same_patients_again_are_one_ancestor_and_others_of_the_same_set_are_another():
    first, again = ancestor("run 1", "a", "b"), ancestor("run 2", "b", "a")
    fewer = ancestor("run 3", "a")
    begun = Ancestry((IMAGENET,)).then(IMAGENET)
    ancestry = begun.then(first).then(fewer).then(again)
    assert [one.name for one in ancestry.ancestors] == ["ImageNet", "run 3", "run 2"]


def test_it_says_every_ancestor_and_which_are_not_known():
    ancestry = Ancestry((*not_known("file:old.keras").ancestors, IMAGENET)).then(ancestor("run 1", "a", "b"))
    assert ancestry.unknown == ("file:old.keras",)
    assert ancestry.said == (
        "run 1 (2 patients of rsna, digest dddddddddddd); ImageNet (no patients); "
        "file:old.keras (what it learned from is not known)"
    )
    assert Ancestry().said == "nothing before"
    many = Ancestry(tuple(ancestor(f"run {number}", str(number)) for number in range(6)))
    assert many.said.startswith("run 5 (1 patients")
    assert many.said.endswith("; 2 more")


def test_it_is_read_as_it_was_written_and_is_small(tmp_path):
    patients = [f"ID_{number:08x}" for number in range(19_000)]
    before = Ancestry((IMAGENET, *not_known("file:old.keras").ancestors)).then(ancestor("run 1", *patients))
    before.write(tmp_path / "ancestry.npz")
    assert (tmp_path / "ancestry.npz").stat().st_size < 3 * 8 * 19_000 + 2_000
    after = Ancestry.read(tmp_path / "ancestry.npz")
    assert after.said == before.said
    (one,) = after.shared_with(ids(*patients[:7], "other"))
    assert (one.ancestor.digest, one.kind, one.count) == ("d" * 64, "patients", 7)


def test_what_another_version_wrote_is_refused_in_one_line(tmp_path):
    with pytest.raises(ModelError, match=r"^the model holds no none\.npz, .*: train it again"):
        Ancestry.read(tmp_path / "none.npz")
    note = np.frombuffer(json.dumps([{"name": "run 1", "of_later": 1}]).encode(), np.uint8)
    np.savez(tmp_path / "later.npz", about=note)
    np.savez(tmp_path / "nameless.npz", a=np.zeros(1))
    np.savez(tmp_path / "lacking.npz", about=np.frombuffer(b'[{"name": "a"}]', np.uint8), **{"0/patients": 1})
    (tmp_path / "text.npz").write_text("no arrays")
    for name in ("later", "nameless", "lacking", "text"):
        with pytest.raises(ModelError, match="train the model again") as refusal:
            Ancestry.read(tmp_path / f"{name}.npz")
        assert "\n" not in str(refusal.value)

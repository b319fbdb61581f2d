from dataclasses import replace
from types import SimpleNamespace

import pytest

from ich_mlflow.dataset.build import BuildOptions, build_stored_set
from ich_mlflow.errors import ModelError
from ich_mlflow.workflows.scoring import expect_unseen
from tests.conftest import LABELS
from tests.factories import ArraySource


class _Renamed(ArraySource):
    """The same slices with some of their names changed."""

    names: tuple[str, ...] = ()

    def read(self, file):
        ct_slice = super().read(file)
        return replace(ct_slice, **{name: f"new {getattr(ct_slice, name)}" for name in self.names})


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ((), "patients of the test split"),
        (("patient_id",), "studies of the test split"),
        (("patient_id", "study_uid"), "series of the test split"),
        (("patient_id", "study_uid", "series_uid"), ""),
    ],
)
def test_a_copy_whose_patients_are_renamed_is_still_known_by_its_studies(stored_set, tmp_path, names, said):
    source = _Renamed(tmp_path, LABELS, slices_per_patient=4)
    source.names = names
    options = BuildOptions(seed=0, workers=1, external=True)
    copy = build_stored_set(source, tmp_path / "set", options, progress=False)
    model = SimpleNamespace(data_digest=stored_set.digest)
    if not said:
        assert expect_unseen(model, copy, str(stored_set.path))
        return
    with pytest.raises(ModelError, match=said):
        expect_unseen(model, copy, str(stored_set.path))

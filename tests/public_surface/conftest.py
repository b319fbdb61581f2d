"""One phantom cohort, its stored set and the demonstration model, made by the commands once a session."""

import base64

import numpy as np
import pandas as pd
import pytest

from tests.public_surface.adapter import newest_run, run_stage


@pytest.fixture(scope="session")
def session_patch():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="session")
def phantoms(workspace, session_patch):
    """The stored set of three phantom exams; its cohort stands beside it."""
    out = workspace / "surface-set"
    ended = run_stage(
        session_patch, "preprocess", source="phantom", exams=3, bleeds=0.5, seed=11, workers=1, out=out
    )
    assert ended == 0
    return out


@pytest.fixture(scope="session")
def hu(phantoms):
    """Every sixth stored slice, int16 HU [n, 256, 256]."""
    shards = sorted(phantoms.glob("hu-*.npy"))
    return np.concatenate([np.load(shard) for shard in shards])[::6]


@pytest.fixture(scope="session")
def dicom_files(workspace, phantoms):
    """Every fifth DICOM file of one exam, in base64, one a row."""
    table = pd.read_parquet(phantoms / "slices.parquet").sort_values("sop_uid")
    one = table[table["study_uid"] == table["study_uid"].min()]["sop_uid"]
    # other tests of the same process make cohorts of their own
    (folder,) = {
        path.parent for path in workspace.glob(f"data/phantom-3-exams-*/stage_2_train/{one.iloc[0]}.dcm")
    }
    files = [folder / f"{name}.dcm" for name in one[::5]]
    return pd.DataFrame({"dicom": [base64.b64encode(file.read_bytes()).decode() for file in files]})


@pytest.fixture(scope="session")
def demonstration(workspace, session_patch):
    """The demonstration model's URI: weights that come with the package, so the same everywhere."""
    assert run_stage(session_patch, "demonstrate", num_classes=5, learned_from="phantom") == 0
    return newest_run("demonstrate").data.tags["ich.serving_model_uri"]

"""A model version that 0.1 logged still answers by its own code, in a process of its own. Ours says to train it again.

tests/fixtures/model-0.1.zip is a version as `train` of 0.1 logged it, of the tests' tiny network, its copy of the code
included. What was chosen for it lacks any bleed, which evaluate, promote and predict can not do without. Its
network is read all the same, once it is given what a version of today holds.
"""

import json
import subprocess
import sys
import zipfile

import mlflow
import numpy as np
import pytest

from ich_mlflow.models.ancestry import Ancestry
from ich_mlflow.models.weights import shipped_path
from tests.public_surface.adapter import ROOT, IchError, probabilities, run_stage
from tests.public_surface.recorded import expect_bits, floats

ARCHIVE = ROOT / "tests" / "fixtures" / "model-0.1.zip"
SERVE_SCRIPT = """
import json, sys
import mlflow, pandas
assert "ich_mlflow" not in sys.modules, "MLflow's plugin imports the package: pip install -e . again"
model = mlflow.pyfunc.load_model(sys.argv[1])
asked = json.loads(sys.stdin.read())
answers = [model.predict(pandas.DataFrame(rows)).to_dict("records") for rows in asked]
import ich_mlflow
print(json.dumps({"code": ich_mlflow.__file__, "version": ich_mlflow.__version__, "answers": answers}))
"""


@pytest.fixture
def old_model(tmp_path):
    """The folder of the version's files."""
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def known_model(old_model):
    """The same network with what a version of today knows of itself."""
    (file,) = old_model.rglob("serving.json")
    file.write_text(shipped_path("efficientnet-b0-phantom-5class").with_suffix(".json").read_text())
    Ancestry().write(file.with_name("ancestry.npz"))
    return old_model


@pytest.fixture
def moved_model(known_model):
    """The same, but that its code and its .keras file name modules which are nowhere, as once ours have moved."""
    for file in (known_model / "model.py", *(known_model / "code").rglob("*.py")):
        text = file.read_text()
        file.write_text(text.replace("from ich_mlflow.", "from ich_mlflow.gone."))
    (keras_file,) = known_model.rglob("classifier.keras")
    with zipfile.ZipFile(keras_file) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    assert b'"module": "ich_mlflow.model.layers"' in parts["config.json"]
    parts["config.json"] = parts["config.json"].replace(b'"ich_mlflow.', b'"ich_mlflow.gone.')
    with zipfile.ZipFile(keras_file, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    return known_model


def logged(folder):
    """Its URI, once a run holds it: in a store that does not know the id that it had where it was made."""
    lines = (folder / "MLmodel").read_text().splitlines()
    (folder / "MLmodel").write_text("\n".join(line for line in lines if not line.startswith("model_id:")))
    with mlflow.start_run() as run:
        mlflow.log_artifacts(str(folder), "serving")
    return f"runs:/{run.info.run_id}/serving"


def test_in_a_process_of_its_own_it_answers_by_its_own_code(old_model, hu, dicom_files):
    asked = [{"pixels": hu[:2].tolist()}, {"dicom": dicom_files["dicom"][:1].tolist()}]
    done = subprocess.run(
        [sys.executable, "-c", SERVE_SCRIPT, str(old_model)],
        input=json.dumps(asked), capture_output=True, text=True, check=False, cwd=old_model.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert (said["version"], said["code"].startswith(str(old_model))) == ("0.1.0", True)
    (by_pixels, by_dicom) = said["answers"]
    labels = [name for name in by_dicom[0] if name.startswith("probability_")]
    now = {f"pixels/{name}": [row[name] for row in by_pixels] for name in labels}
    expect_bits("model-0.1-by-pyfunc", now | {f"dicom/{name}": [by_dicom[0][name]] for name in labels})


def test_our_code_gives_the_bits_that_its_own_gave(workspace, known_model, hu):
    said = probabilities(logged(known_model), hu[:2])
    expect_bits(
        "model-0.1-by-classifier", {f"slice/{number}": floats(row) for number, row in enumerate(said)}
    )


def test_modules_that_its_code_misses_here_do_not_matter(workspace, moved_model, hu, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))  # where MLflow puts the copy, and leaves it
    with pytest.raises(mlflow.exceptions.MlflowException, match=r"No module named 'ich_mlflow\.gone'"):
        mlflow.pyfunc.load_model(str(moved_model))
    before = list(sys.path)
    assert probabilities(str(moved_model), hu[:1]).shape == (1, 5)
    assert sys.path == before


def test_what_0_1_chose_has_no_any_and_that_is_said_in_one_line(workspace, old_model, hu):
    with pytest.raises(IchError) as refused:
        probabilities(logged(old_model), hu[:1])
    said = str(refused.value)
    assert "\n" not in said
    assert "was logged by ich_mlflow 0.1.0, this is " in said
    assert "train the model again" in said


def test_a_version_that_does_not_say_whom_it_learned_from_is_refused_in_one_line(workspace, known_model):
    (file,) = known_model.rglob("ancestry.npz")
    file.unlink()
    with pytest.raises(IchError) as refused:
        probabilities(logged(known_model), np.zeros((1, 256, 256), np.int16))
    said = str(refused.value)
    assert "\n" not in said
    assert "was logged by ich_mlflow 0.1.0, this is " in said
    assert "the model holds no ancestry.npz" in said
    assert "train it again" in said


def test_evaluate_takes_it_with_its_heat_maps(workspace, moved_model, stored_set, monkeypatch):
    ended = run_stage(
        monkeypatch, "evaluate", model=logged(moved_model), data=stored_set.path, resamples=100, heat_maps=1
    )
    assert ended == 0


def test_a_version_that_knows_other_things_of_itself_is_refused_in_one_line(workspace, known_model):
    (file,) = known_model.rglob("serving.json")
    known = json.loads(file.read_text())
    file.write_text(json.dumps({**known, "of_later": 1}))
    init = known_model / "code" / "ich_mlflow" / "__init__.py"
    init.write_text(init.read_text().replace('"0.1.0"', '"0.0.9"'))
    with pytest.raises(IchError) as refused:
        probabilities(str(known_model), np.zeros((1, 256, 256), np.int16))
    said = str(refused.value)
    assert "\n" not in said
    assert "was logged by ich_mlflow 0.0.9, this is " in said
    assert "of_later" in said
    assert "train the model again" in said


def test_what_is_no_model_of_ours_is_refused_in_one_line(workspace, old_model):
    (file,) = old_model.rglob("serving.json")
    file.unlink()
    with pytest.raises(IchError, match=r"is no serving model of ich_mlflow .*it holds no serving\.json"):
        probabilities(str(old_model), np.zeros((1, 256, 256), np.int16))

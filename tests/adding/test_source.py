import json

import numpy as np
import pytest

from tests.adding.page import python, walked

# Five patients with two slices each; of patient p4 one file is cut short, one slice has no labels, one label no file.
ROWS = [f"p{patient}_{number},{int(number == 2)},0,0,0,0" for patient in range(5) for number in (1, 2)]
CODE = """
import contextlib, json, os, sys
from pathlib import Path
os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{Path('mlflow.db').resolve()}"
import numpy as np
import pandas as pd
from ich_mlflow.cli import main, parse
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.sources.registry import open_source
from ich_mlflow.stages import reference
from ich_mlflow.stages.evaluate.options import EvaluateOptions
from ich_mlflow.stages.train.options import TrainOptions

told = ["--source", "arrays", "--data", "data"]
with contextlib.redirect_stdout(sys.stderr):
    assert main(["preprocess", *told, "--out", "set", "--quarantine_limit", "0.5", "--workers", "1"]) == 0
source, stored = open_source("arrays", "data"), StoredSet.open(Path("set"))
table = stored.table.set_index("sop_uid").sort_index()
row = stored.table.index[stored.table["sop_uid"] == "p3_2"]
quarantine = pd.read_csv("set/quarantine.csv", keep_default_na=False)
trained_on = [parse(kind, told).source for kind in (TrainOptions, EvaluateOptions)]
print(json.dumps({
    "slices": table.index.tolist(), "patients": table["patient_id"].tolist(),
    "positions": table["position_mm"].tolist(), "epidural": table["epidural"].astype(int).tolist(),
    "pixel": int(stored.hu(np.array(row))[0, 0, -1]), "shape": stored.hu(np.array(row)).shape,
    "manifest": {name: stored.manifest[name] for name in ("source", "label_level", "overlap")},
    "quarantine": dict(zip(quarantine["file"], quarantine["reason"])),
    "detail": quarantine.set_index("file")["detail"]["p4_1.npy"],
    "counts": source.audit(), "trained_on": trained_on, "page": reference.page(),
}))
"""
# In the copy whose record says `study`.
STUDY = """
from ich_mlflow.cli import parse
from ich_mlflow.errors import OptionError
from ich_mlflow.stages.evaluate.options import EvaluateOptions
from ich_mlflow.stages.train.options import TrainOptions

told = ["--source", "arrays", "--data", "data"]
print(parse(EvaluateOptions, told).source)
try:
    parse(TrainOptions, told)
except OptionError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    folder = walked("source.md", tmp_path_factory.mktemp("source"))
    data = folder / "data"
    data.mkdir()
    header = "slice,epidural,intraparenchymal,intraventricular,subarachnoid,subdural"
    (data / "labels.csv").write_text("\n".join([header, *ROWS, "p5_1,0,0,0,0,0", ""]))
    for patient in range(5):
        for number in (1, 2):
            hu = np.full((64, 64), -1000, np.int16)
            hu[:, 32:] = 10 * patient + number
            np.save(data / f"p{patient}_{number}.npy", hu)
    np.save(data / "p6_1.npy", hu)
    broken = data / "p4_1.npy"
    broken.write_bytes(broken.read_bytes()[:-1])
    return folder


@pytest.fixture(scope="module")
def told(copy):
    return json.loads(python(copy, CODE))


def test_preprocess_makes_a_stored_set_of_the_source_of_the_page(told):
    good = [f"p{patient}_{number}" for patient in range(5) for number in (1, 2)]
    good.remove("p4_1")
    assert told["slices"] == good
    assert told["patients"] == [name[:2] for name in good]
    assert told["positions"] == [5.0 * int(name[-1]) for name in good]
    assert told["epidural"] == [int(name[-1] == "2") for name in good]
    assert (told["pixel"], told["shape"]) == (32, [1, 256, 256])  # slice 2 of patient 3, enlarged
    assert told["manifest"] == {
        "source": "arrays",
        "label_level": "slice",
        "overlap": "independent of RSNA 2019 (our own hospital)",
    }


def test_what_cannot_be_used_is_on_the_quarantine_list_with_its_reason(told):
    assert told["quarantine"] == {"p4_1.npy": "not_an_array", "p5_1": "no_file", "p6_1.npy": "no_label"}
    assert told["detail"].startswith("data/p4_1.npy is no array of whole numbers (")
    assert told["counts"] == {"rows": 11, "slices": 10, "labels_without_file": 1, "files_without_label": 1}


def test_train_and_evaluate_take_it_and_the_reference_lists_it(told):
    assert told["trained_on"] == ["arrays", "arrays"]
    assert "arrays, rsna, ctich, phantom, cq500, table, rsna-test or drawn" in told["page"]
    assert "auto, arrays, rsna, ctich, phantom or table (those with a label a slice)" in told["page"]


def test_with_labels_of_studies_it_can_be_evaluated_on_but_not_trained_on(copy, told):
    registry = copy / "ich_mlflow" / "sources" / "registry.py"
    record = '"arrays": SourceRecord("ich_mlflow.sources.arrays:ArraySource", "slice")'
    assert record in registry.read_text()
    registry.write_text(registry.read_text().replace(record, record.replace('"slice"', '"study"')))
    assert python(copy, STUDY).splitlines() == [
        "arrays",
        "source is 'arrays', expected auto, rsna, ctich, phantom or table (those with a label a slice): "
        "pass -P source=…",
    ]

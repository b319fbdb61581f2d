"""The pyfunc model, logged as code: MLflow runs this file where the model is loaded.

Input: one row a slice, with a DICOM file in base64 (`dicom`) or Hounsfield units as nested lists (`pixels`, and if
known `spacing_mm`, `series`, `position_mm`). Output: one row a slice, or with aggregate=exam one an exam: of each label
and of any `probability_<label>`, `decision_<label>` and `score_<label>`; then operating_point, model_name,
model_version, warnings, caveats, error. `docs/serving.md` has all of it.
"""

import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

from ich_mlflow.models.slice_cnn.runtimes import LITERT
from ich_mlflow.serving.classifier import Classifier, Specification
from ich_mlflow.serving.heat_map import heat_map_png
from ich_mlflow.serving.refusal import Refusal, refuse_plainly
from ich_mlflow.serving.request import EXAM, FAIL, Asked
from ich_mlflow.serving.response import Answerer, ModelVersion
from ich_mlflow.serving.rows import Fault, Row, expect_series, read_rows, series_of, with_context

#: What MLflow writes beside a model that it fetched from the registry.
_REGISTERED_FILE = "registered_model_meta"
_SERVER = "mlflow.pyfunc.scoring_server"
#: Set by the scoring server, once it has loaded the model.
_IS_SERVING = "_MLFLOW_IS_IN_SERVING_ENVIRONMENT"


class ServedClassifier(PythonModel):
    """DICOM slices in base64, or Hounsfield units, to named probabilities and decisions."""

    def load_context(self, context: Any) -> None:
        folder = Path(context.artifacts["classifier"])
        runtime = (context.model_config or {}).get("runtime", LITERT)
        self.classifier = Classifier(folder, runtime=runtime)
        specification = self.classifier.specification
        self.answerer = Answerer(specification=specification, version=_version(folder, specification))
        if _SERVER in sys.modules:
            refuse_plainly(sys.modules[_SERVER])

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame | list[dict[str, Any]]:
        """One row a slice or an exam. Raises Refusal, naming the row, where one can't be used and on_error is fail.

        In the scoring server a list of rows: the same JSON, a millisecond sooner than through a data frame.
        """
        lines = self._answer(model_input, params)
        return lines if os.environ.get(_IS_SERVING) == "true" else pd.DataFrame(lines).astype(object)

    def _answer(self, frame: pd.DataFrame, params: dict[str, Any] | None) -> list[dict[str, Any]]:
        asked = Asked.of(params, decides_by=self.classifier.specification.decides_by)
        if not frame.columns.is_unique:
            raise Refusal("the request has a column twice")
        rows = read_rows(frame)
        if not rows:
            raise Refusal(
                "the request has no rows, expected a column dicom (base64) or pixels (lists of numbers)"
            )
        faults = [row for row in rows if isinstance(row, Fault)]
        if faults and asked.on_error == FAIL:
            more = f" (and {len(faults) - 1} more rows)" if len(faults) > 1 else ""
            raise Refusal(faults[0].line + more)
        good = [row for row in rows if isinstance(row, Row)]
        if not good:
            nothing = np.empty((0, len(self.classifier.specification.labels)))
            say = (
                self.answerer.exams
                if asked.aggregate == EXAM
                else partial(self.answerer.slices, heat_maps=[])
            )
            return say(rows, nothing, asked)
        if asked.aggregate == EXAM:
            expect_series(rows)
            slices, of_series = self._read(good)
            return self.answerer.exams(rows, slices, asked, of_series)
        if not asked.explain:
            slices, of_series = self._read(good)
            return self.answerer.slices(rows, slices, asked, [], of_series)
        if not self.classifier.can_explain:
            raise Refusal("this model has no heat maps, expected explain=false")
        of_series = None
        outputs, maps = self.classifier.explained(with_context(good, self.classifier.specification.context))
        pictures = [
            [heat_map_png(row.hu, one, is_share=self.classifier.finds_blood) for one in of_row]
            for row, of_row in zip(good, maps, strict=True)
        ]
        if not self.classifier.is_plain:
            outputs, of_series = self._read(good)
        return self.answerer.slices(rows, outputs, asked, pictures, of_series)

    def _read(self, rows: list[Row]) -> tuple[np.ndarray, np.ndarray | None]:
        """What is said of each row [n, L], series by series, and of its series, None where the model doesn't."""
        slices, exams = np.empty((2, len(rows), len(self.classifier.specification.labels)), np.float32)
        says_exams = False
        for members in series_of(rows):
            hu = np.stack([rows[one].hu for one in members])
            position_mm = np.array([rows[one].position_mm for one in members])
            read = self.classifier.predict_series(hu, position_mm)
            slices[members] = read.slices
            if read.exam is not None:
                exams[members], says_exams = read.exam, True
        return slices, exams if says_exams else None


def _version(folder: Path, specification: Specification) -> ModelVersion:
    """What MLflow noted when it fetched the model from the registry; else the run that made it."""
    for parent in folder.parents[:3]:
        note = parent / _REGISTERED_FILE
        if note.is_file():
            known = yaml.safe_load(note.read_text(encoding="utf-8"))
            if known.get("model_name"):
                return ModelVersion(str(known["model_name"]), str(known["model_version"]))
    return ModelVersion.of("", specification)


set_model(ServedClassifier())

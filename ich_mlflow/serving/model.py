"""The pyfunc model, logged as code: MLflow runs this file where the model is loaded.

Input: one row a slice, column `dicom` with a DICOM file in base64. Output: one row a slice, for each label
`probability_<label>` and `decision_<label>`.
"""

import base64
import binascii
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PythonModel

from ich_mlflow.ct.resample import to_stored_size
from ich_mlflow.dicom.slice import slice_from_bytes
from ich_mlflow.errors import SliceError
from ich_mlflow.serving.classifier import LITERT_FILE, SPECIFICATION_FILE, Classifier, Specification


class ServedClassifier(PythonModel):
    """DICOM slices in base64 to named probabilities and decisions."""

    def load_context(self, context: Any) -> None:
        folder = Path(context.artifacts["classifier"])
        self.classifier = Classifier(folder / LITERT_FILE, Specification.read(folder / SPECIFICATION_FILE))

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """One row a slice. Refuses the request, naming the row, where a slice can't be used."""
        frame = model_input
        if "dicom" not in frame.columns or frame.empty:
            raise _refusal("the request has no rows, expected a column `dicom` with base64 DICOM files")
        hu = np.stack([_decode(row, text) for row, text in enumerate(frame["dicom"])])
        return self._answer(self.classifier.probabilities(hu))

    def _answer(self, probabilities: np.ndarray) -> pd.DataFrame:
        specification = self.classifier.specification
        columns: dict[str, Any] = {}
        for number, label in enumerate(specification.labels):
            columns[f"probability_{label}"] = probabilities[:, number].astype(float)
        decisions = probabilities >= specification.thresholds
        for number, label in enumerate(specification.labels):
            columns[f"decision_{label}"] = decisions[:, number]
        return pd.DataFrame(columns)


def _decode(row: int, text: Any) -> np.ndarray:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise _refusal(f"row {row}: dicom is not base64") from None
    try:
        return to_stored_size(slice_from_bytes(data, f"row {row}").hu)
    except SliceError as error:
        raise _refusal(str(error)) from None


def _refusal(message: str) -> MlflowException:
    return MlflowException(message, error_code=INVALID_PARAMETER_VALUE)


set_model(ServedClassifier())

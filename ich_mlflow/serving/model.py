"""The pyfunc model, logged as code: MLflow runs this file where the model is loaded.

Input: one row a slice, with a DICOM file in base64 (`dicom`) or Hounsfield units as nested lists (`pixels`, and if
known `spacing_mm`, `series`, `position_mm`). Output: one row a slice, or with aggregate=exam one an exam: of each label
and of any `probability_<label>`, `decision_<label>` and `score_<label>`; then operating_point, model_name,
model_version, warnings, caveats, error; of exams status and uncertain_because. `docs/serving.md` has all of it.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

from ich_mlflow.errors import OutputError
from ich_mlflow.models.slice_cnn.runtimes import LITERT
from ich_mlflow.monitoring.recorder import Recorder, recorder_from_environment
from ich_mlflow.serving.classifier import Classifier, Specification
from ich_mlflow.serving.heat_map import heat_map_png
from ich_mlflow.serving.refusal import Refusal, refuse_plainly
from ich_mlflow.serving.request import EXAM, FAIL, Asked
from ich_mlflow.serving.response import Answerer, ModelVersion
from ich_mlflow.serving.rows import Fault, Row, expect_series, read_rows, series_of, unpacked, with_context
from ich_mlflow.serving.seen import what_was_seen

#: What MLflow writes beside a model that it fetched from the registry.
_REGISTERED_FILE = "registered_model_meta"
#: Of a request: more slices than the thinnest series of a head has.
MAX_ROWS = 1024
_SERVER = "mlflow.pyfunc.scoring_server"
#: Set by the scoring server, once it has loaded the model.
_IS_SERVING = "_MLFLOW_IS_IN_SERVING_ENVIRONMENT"


@dataclass(frozen=True, kw_only=True)
class _Said:
    """Of the rows that something is said of, in order.

    slices [n, L], of_series [n, L] and distance [n] where the model says it, pictures [n][L] where they were asked for.
    faults: of the other rows, by their number, why nothing is said.
    """

    slices: np.ndarray
    of_series: np.ndarray | None
    pictures: list[list[str]]
    faults: dict[int, str]
    distance: np.ndarray | None = None


class ServedClassifier(PythonModel):
    """DICOM slices in base64, or Hounsfield units, to named probabilities and decisions."""

    #: Where the monitor's log is on.
    recorder: Recorder | None = None

    def load_context(self, context: Any) -> None:
        folder = Path(context.artifacts["classifier"])
        runtime = (context.model_config or {}).get("runtime", LITERT)
        self.classifier = Classifier(folder, runtime=runtime)
        specification = self.classifier.specification
        self.answerer = Answerer(specification=specification, version=_version(folder, specification))
        self.recorder = recorder_from_environment()
        if _SERVER in sys.modules:
            refuse_plainly(sys.modules[_SERVER])

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame | list[dict[str, Any]]:
        """One row a slice or an exam. Raises Refusal, naming the row, where one can't be used and on_error is fail.

        In the scoring server a list of rows: the same JSON, a millisecond sooner than through a data frame.
        """
        if os.environ.get(_IS_SERVING) == "true":
            return self._answer(model_input, params)
        return pd.DataFrame(self._answer(unpacked(model_input), params)).astype(object)

    def _answer(self, frame: pd.DataFrame, params: dict[str, Any] | None) -> list[dict[str, Any]]:
        asked = Asked.of(params, decides_by=self.classifier.specification.decides_by)
        if not frame.columns.is_unique:
            raise Refusal("the request has a column twice")
        if len(frame) > MAX_ROWS:
            raise Refusal(
                f"the request has {len(frame):,} rows, expected at most {MAX_ROWS:,}: split it by exams"
            )
        rows = read_rows(frame)
        if not rows:
            raise Refusal(
                "the request has no rows, expected a column dicom (base64) or pixels (lists of numbers)"
            )
        faults = [row for row in rows if isinstance(row, Fault)]
        if faults and asked.on_error == FAIL:
            more = f" (and {len(faults) - 1} more rows)" if len(faults) > 1 else ""
            raise Refusal(faults[0].line + more)
        if asked.aggregate == EXAM:
            expect_series(rows)
        if asked.explain and not self.classifier.can_explain:
            raise Refusal("this model has no heat maps, expected explain=false")
        said = self._read(rows, asked)
        if said.faults and asked.on_error == FAIL:
            raise Refusal(next(iter(said.faults.values())), is_ours=True)
        rows = [
            Fault(said.faults[number]) if number in said.faults else row for number, row in enumerate(rows)
        ]
        if asked.aggregate == EXAM:
            lines = self.answerer.exams(rows, said.slices, asked, said.of_series, said.distance)
        else:
            lines = self.answerer.slices(rows, said.slices, asked, said.pictures, said.of_series)
        if self.recorder is not None:
            is_exams = asked.aggregate == EXAM
            self.recorder.put(lambda: what_was_seen(rows, lines, is_exams=is_exams, distance=said.distance))
        return lines

    def _read(self, rows: list[Row | Fault], asked: Asked) -> "_Said":
        """What is said of the usable rows, series by series. Of a series with a faulty answer nothing is."""
        classifier = self.classifier
        good = [number for number, row in enumerate(rows) if isinstance(row, Row)]
        usable = [row for row in rows if isinstance(row, Row)]
        slices, exams = np.empty((2, len(usable), len(classifier.specification.labels)), np.float32)
        pictures: dict[int, list[str]] = {}
        faulty: dict[int, str] = {}
        distance = np.full(len(usable), np.nan, np.float32)
        says_exams = False
        for members in series_of(usable):
            of_series = [usable[one] for one in members]
            try:
                if asked.explain:
                    slices[members], drawn = self._explained(of_series)
                    pictures.update(zip(members, drawn, strict=True))
                if not (asked.explain and classifier.is_plain):
                    read = classifier.predict_series(
                        np.stack([row.hu for row in of_series]),
                        np.array([row.position_mm for row in of_series]),
                    )
                    slices[members] = read.slices
                    if read.exam is not None:
                        exams[members], says_exams = read.exam, True
                    if read.distance is not None:
                        distance[members] = read.distance
            except OutputError as error:
                faulty.update((int(one), str(error)) for one in members)
        if asked.aggregate == EXAM:  # the rest of an exam would pass for all of it
            studies = {usable[one].study: why for one, why in faulty.items() if usable[one].study}
            faulty.update((one, studies[row.study]) for one, row in enumerate(usable) if row.study in studies)
        sound = [one for one in range(len(usable)) if one not in faulty]
        return _Said(
            slices=slices[sound],
            of_series=exams[sound] if says_exams else None,
            pictures=[pictures[one] for one in sound] if asked.explain else [],
            faults={good[one]: f"row {good[one]}: {why}" for one, why in sorted(faulty.items())},
            distance=None if np.isnan(distance).all() else distance[sound],
        )

    def _explained(self, rows: list[Row]) -> tuple[np.ndarray, list[list[str]]]:
        """Of the rows of one series what is said of each by itself [n, L], and its heat maps as PNG."""
        classifier = self.classifier
        outputs, maps = classifier.explained(with_context(rows, classifier.specification.context))
        pictures = [
            [heat_map_png(row.hu, one, is_share=classifier.finds_blood) for one in of_row]
            for row, of_row in zip(rows, maps, strict=True)
        ]
        return outputs, pictures


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

"""The network over series as it is served: what a version of the slices says, then what its series makes of it."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from ich_mlflow.models.exam_sequence.forward import SequenceNetwork
from ich_mlflow.models.exam_sequence.inputs import SliceModel, series_inputs
from ich_mlflow.models.family import Reading, Told, member_folders
from ich_mlflow.models.series import mean_explained, mean_reading
from ich_mlflow.models.slice_cnn.reader import SliceReader

SEQUENCE_FILE = "sequence.npz"
#: The folder of the slices' model version, as it was packed.
SLICES_FOLDER = "slices"


class SequenceReader:
    """The networks of the slices, and the one over their series: it reads what each says, and the mean is said."""

    def __init__(self, folder: Path, runtime: str, told: Told) -> None:
        """Open what exam_sequence/training.py packed. Raises ModelError."""
        self.network = SequenceNetwork.read(folder / SEQUENCE_FILE)
        slices = folder / SLICES_FOLDER
        about = json.loads((slices / "serving.json").read_text(encoding="utf-8"))
        of_slices = SimpleNamespace(labels=told.labels, context=int(about["context"]))
        self._slices = [
            SliceModel(
                SliceReader(one, runtime, of_slices),
                mirror=bool(about["mirror"]),
                smoothing=str(about["series_smoothing"]),
            )
            for one in member_folders(slices, int(about.get("members", 1)))
        ]
        self._with_features = self.network.num_inputs > 3 * self.network.num_labels

    def read(self, hu: np.ndarray, position_mm: np.ndarray) -> Reading:
        """As Reader says; of the exam too."""
        inputs = (
            series_inputs(one, hu, position_mm, with_features=self._with_features) for one in self._slices
        )
        return mean_reading([Reading(*self.network.run(one)) for one in inputs])

    @property
    def finds_blood(self) -> bool:
        """As Explainer says."""
        return all(one.reader.finds_blood for one in self._slices)

    def explained(self, hu: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As Explainer says: of the networks of the slices, which look at the image; the series is not looked at."""
        return mean_explained([one.reader for one in self._slices], hu)

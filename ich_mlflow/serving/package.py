"""Log a trained Keras model and the whole serving model around it; load either back."""

import contextlib
import io
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema, TensorSpec

from ich_mlflow.errors import ModelError
from ich_mlflow.serving.classifier import (
    KERAS_FILE,
    LITERT_FILE,
    SPECIFICATION_FILE,
    Classifier,
    Specification,
)

PACKAGE_FOLDER = Path(__file__).parents[1]
#: What a serving machine installs: no TensorFlow among them.
SERVING_PACKAGES = (
    "mlflow", "numpy", "pandas", "opencv-python-headless", "ai-edge-litert",
    "pydicom", "pyjpegls", "pylibjpeg", "pylibjpeg-libjpeg", "pylibjpeg-openjpeg",
)  # fmt: skip
KERAS_PACKAGES = ("mlflow", "keras", "tensorflow", "numpy")
#: The largest difference between the LiteRT twin and Keras that a model may be logged with.
PARITY_TOLERANCE = 1e-4


def log_models(model: Any, specification: Specification, *, sample_hu: np.ndarray) -> tuple[str, str]:
    """Log the Keras model and the serving model on the active run; return their model URIs in that order.

    sample_hu: HU [B, 256, 256, 1 + 2 * context] on which the LiteRT twin must agree with Keras to 1e-4.
    Raises ModelError where it does not.
    """
    keras_info = mlflow.keras.log_model(
        model,
        name="keras",
        signature=_keras_signature(len(specification.labels), sample_hu),
        pip_requirements=pinned(KERAS_PACKAGES),
    )
    with tempfile.TemporaryDirectory() as folder:
        assemble(model, specification, Path(folder))
        check_parity(model, Path(folder), sample_hu)
        with warnings.catch_warnings():
            # MLflow advises an input example; a DICOM file does not belong into a model version.
            warnings.simplefilter("ignore", UserWarning)
            serving_info = mlflow.pyfunc.log_model(
                name="serving",
                python_model=str(PACKAGE_FOLDER / "serving" / "model.py"),
                artifacts={"classifier": folder},
                code_paths=[str(PACKAGE_FOLDER)],
                signature=_serving_signature(specification.labels),
                pip_requirements=pinned(SERVING_PACKAGES),
            )
    return keras_info.model_uri, serving_info.model_uri


def assemble(model: Any, specification: Specification, folder: Path) -> None:
    """Write classifier.keras, its LiteRT twin and serving.json into the folder."""
    specification.write(folder / SPECIFICATION_FILE)
    model.save(folder / KERAS_FILE)
    with contextlib.redirect_stdout(io.StringIO()):  # the converter prints the graph's endpoints
        model.export(str(folder / LITERT_FILE), format="litert", verbose=False)


def check_parity(model: Any, folder: Path, sample_hu: np.ndarray) -> float:
    """The largest difference of probabilities between Keras and the twin. ModelError above 1e-4."""
    specification = Specification.read(folder / SPECIFICATION_FILE)
    served = Classifier(folder / LITERT_FILE, specification).uncalibrated(sample_hu)
    expected = np.asarray(model(sample_hu.astype(np.float32), training=False))
    difference = float(np.max(np.abs(served - expected)))
    if not difference <= PARITY_TOLERANCE:
        raise ModelError(
            f"the LiteRT twin differs from Keras by {difference:.2g} in probability, expected at most "
            f"{PARITY_TOLERANCE:g}: the model is not logged, since serving would not answer as it was trained"
        )
    return difference


def load_classifier(model_uri: str) -> Classifier:
    """The classifier inside a logged or registered serving model. Raises ModelError for any other model."""
    try:
        return mlflow.pyfunc.load_model(model_uri).unwrap_python_model().classifier
    except ModelError:
        raise
    except Exception as error:  # MLflow raises many kinds, each a model that can't be scored
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(
            f"model {model_uri!r} is no serving model of ich_mlflow or can't be loaded ({reason}): expected "
            "for example models:/ich-5class@champion or runs:/<run id>/serving"
        ) from error


def keras_file(model_uri: str) -> Path:
    """The .keras file inside a serving model. Raises ModelError where it has none."""
    folder = Path(mlflow.artifacts.download_artifacts(model_uri))
    found = sorted(folder.rglob(KERAS_FILE))
    if not found:
        raise ModelError(f"model {model_uri!r} holds no {KERAS_FILE}: train it again with this version")
    return found[0]


def size_mb(model_uri: str) -> float:
    """Size of a model version's files in MB, 10^6 bytes: what a serving machine downloads."""
    folder = Path(mlflow.artifacts.download_artifacts(model_uri))
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def signature_fault(model_uri: str, replaced_uri: str | None) -> str:
    """'' where who sends requests to the replaced model may send them to this one, else what is wrong, in one line.

    The columns that go in must be the same, and none that came out may be missing. Without a replaced model only
    `dicom` is asked for.
    """
    inputs, outputs = _columns(model_uri)
    if replaced_uri is None:
        return "" if "dicom" in inputs else f"it takes {_listed(inputs)}, expected a column dicom"
    old_inputs, old_outputs = _columns(replaced_uri)
    if inputs != old_inputs:
        return f"it takes {_listed(inputs)}, where the champion takes {_listed(old_inputs)}"
    missing = old_outputs - outputs
    return f"its answer lacks {_listed(missing)}, which the champion's has" if missing else ""


def _columns(model_uri: str) -> tuple[set[str], set[str]]:
    signature = mlflow.models.get_model_info(model_uri).signature
    if signature is None:
        return set(), set()
    sides = (signature.inputs, signature.outputs)
    inputs, outputs = (set(side.input_names()) if side else set() for side in sides)
    return inputs, outputs


def _listed(columns: set[str]) -> str:
    return ", ".join(sorted(columns)) or "no column"


def pinned(packages: tuple[str, ...]) -> list[str]:
    """`name==version` as installed here, so that serving has the versions of training."""
    return [f"{name}=={version(name)}" for name in packages]


def _serving_signature(labels: tuple[str, ...]) -> ModelSignature:
    outputs: list[ColSpec | TensorSpec] = [
        ColSpec(DataType.double, f"probability_{label}") for label in labels
    ]
    outputs += [ColSpec(DataType.boolean, f"decision_{label}") for label in labels]
    return ModelSignature(inputs=Schema([ColSpec(DataType.string, "dicom")]), outputs=Schema(outputs))


def _keras_signature(num_labels: int, sample_hu: np.ndarray) -> ModelSignature:
    shape = (-1, *sample_hu.shape[1:])
    return ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.float32), shape, "hu")]),
        outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, num_labels))]),
    )

"""Log a trained Keras model and the whole serving model around it; load either back."""

import contextlib
import io
import sys
import tempfile
import warnings
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from mlflow.types.schema import AnyType, Array

from ich_mlflow.errors import ModelError, first_line
from ich_mlflow.serving.answer import decision_columns, probability_columns
from ich_mlflow.serving.asked import param_schema
from ich_mlflow.serving.classifier import HEAD_FILE, SPECIFICATION_FILE, Classifier, Specification
from ich_mlflow.serving.networks import KERAS_FILE, LITERT, LITERT_FILE
from ich_mlflow.serving.rows import DICOM, PIXELS, POSITION, SERIES, SPACING

PACKAGE_FOLDER = Path(__file__).parents[1]
#: What a serving machine installs: no TensorFlow among them.
SERVING_PACKAGES = (
    "mlflow", "numpy", "pandas", "opencv-python-headless", "ai-edge-litert",
    "pybase64", "pydicom", "pyjpegls", "pylibjpeg", "pylibjpeg-libjpeg", "pylibjpeg-openjpeg",
    "httptools", "uvloop",  # uvicorn takes them where they are, and answers sooner
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
                model_config={"runtime": LITERT},
                signature=_serving_signature(specification),
                pip_requirements=pinned(SERVING_PACKAGES),
            )
    return keras_info.model_uri, serving_info.model_uri


def assemble(model: Any, specification: Specification, folder: Path) -> None:
    """Write classifier.keras, its LiteRT twin, the head's weights and serving.json into the folder."""
    from ich_mlflow.serving.keras_network import with_feature_maps

    specification.write(folder / SPECIFICATION_FILE)
    model.save(folder / KERAS_FILE)
    dense, bias = model.get_layer("dense").get_weights()
    output, _ = model.get_layer("probabilities").get_weights()
    np.savez(folder / HEAD_FILE, dense=dense, dense_bias=bias, output=output)
    with contextlib.redirect_stdout(io.StringIO()):  # the converter prints the graph's endpoints
        with_feature_maps(model).export(str(folder / LITERT_FILE), format="litert", verbose=False)


def check_parity(model: Any, folder: Path, sample_hu: np.ndarray) -> float:
    """The largest difference of probabilities between Keras and the twin. ModelError above 1e-4."""
    served = Classifier(folder, runtime=LITERT).uncalibrated(sample_hu)
    expected = np.asarray(model(sample_hu.astype(np.float32), training=False))
    difference = float(np.max(np.abs(served - expected)))
    if not difference <= PARITY_TOLERANCE:
        raise ModelError(
            f"the LiteRT twin differs from Keras by {difference:.2g} in probability, expected at most "
            f"{PARITY_TOLERANCE:g}: the model is not logged, since serving would not answer as it was trained"
        )
    return difference


def load_classifier(model_uri: str, *, runtime: str = LITERT) -> Classifier:
    """The classifier inside a logged or registered serving model, run by this code and not by the model's own copy.

    Raises ModelError for any other model.
    """
    path = list(sys.path)
    try:
        loaded = mlflow.pyfunc.load_model(model_uri, model_config={"runtime": runtime})
        return loaded.unwrap_python_model().classifier
    except ModelError:
        raise
    except Exception as error:  # MLflow raises many kinds, each a model that can't be scored
        raise ModelError(
            f"model {model_uri!r} is no serving model of ich_mlflow or can't be loaded ({first_line(error)}): expected "
            "for example models:/ich-5class@champion or runs:/<run id>/serving"
        ) from error
    finally:
        # MLflow puts the model's code first, and worker processes of this one would import that.
        sys.path[:] = path


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

    Every column that went in must still do so, none more may be needed, and none that came out may be missing. Without
    a replaced model only `dicom` is asked for.
    """
    new = _columns(model_uri)
    if replaced_uri is None:
        return "" if DICOM in new.takes else f"it takes {_listed(new.takes)}, expected a column dicom"
    old = _columns(replaced_uri)
    if not old.takes <= new.takes or not new.needs <= old.needs:
        return f"it takes {_listed(new.takes)}, where the champion takes {_listed(old.takes)}"
    missing = old.gives - new.gives
    return f"its answer lacks {_listed(missing)}, which the champion's has" if missing else ""


@dataclass(frozen=True)
class Columns:
    """Names of a signature's columns: that it takes, needs (of those), and gives."""

    takes: set[str]
    needs: set[str]
    gives: set[str]


def _columns(model_uri: str) -> Columns:
    signature = mlflow.models.get_model_info(model_uri).signature
    if signature is None:
        return Columns(set(), set(), set())
    takes, gives = (
        set(side.input_names()) if side else set() for side in (signature.inputs, signature.outputs)
    )
    needs = set(signature.inputs.required_input_names()) if signature.inputs else set()
    return Columns(takes, needs, gives)


def _listed(columns: set[str]) -> str:
    return ", ".join(sorted(columns)) or "no column"


def pinned(packages: tuple[str, ...]) -> list[str]:
    """`name==version` as installed here, so that serving has the versions of training."""
    return [f"{name}=={version(name)}" for name in packages]


def _serving_signature(specification: Specification) -> ModelSignature:
    inputs: list[ColSpec | TensorSpec] = [
        ColSpec(DataType.string, DICOM, required=False),
        # Any: what is wrong with them is said by row, and MLflow's check of nested lists is slow
        *(ColSpec(AnyType(), name, required=False) for name in (PIXELS, SPACING, SERIES, POSITION)),
    ]
    labels = specification.labels
    outputs: list[ColSpec | TensorSpec] = [
        *(ColSpec(DataType.double, name, required=False) for name in probability_columns(labels)),
        *(ColSpec(DataType.boolean, name, required=False) for name in decision_columns(labels)),
        *(ColSpec(DataType.string, name) for name in ("operating_point", "model_name", "model_version")),
        ColSpec(Array(DataType.string), "warnings"),
        ColSpec(DataType.string, "error"),
    ]
    return ModelSignature(
        inputs=Schema(inputs), outputs=Schema(outputs), params=param_schema(specification.decides_by)
    )


def _keras_signature(num_labels: int, sample_hu: np.ndarray) -> ModelSignature:
    shape = (-1, *sample_hu.shape[1:])
    return ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.float32), shape, "hu")]),
        outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, num_labels))]),
    )

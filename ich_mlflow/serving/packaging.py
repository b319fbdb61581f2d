"""Log a trained Keras model and the whole serving model around it; load either back."""

import hashlib
import re
import shutil
import sys
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from mlflow.types.schema import AnyType, Array

from ich_mlflow import __version__
from ich_mlflow.errors import ModelError
from ich_mlflow.models.ancestry import ANCESTRY_FILE, Ancestry
from ich_mlflow.models.family import Network, member_folders
from ich_mlflow.models.feature_distance import FEATURES_FILE
from ich_mlflow.models.slice_cnn.runtimes import KERAS_FILE, LITERT
from ich_mlflow.monitoring.reference import REFERENCE_FILE
from ich_mlflow.serving.classifier import SPECIFICATION_FILE, UNSEEN_FILE, Classifier, Specification
from ich_mlflow.serving.integrity import INTEGRITY_FILE, sha256_of
from ich_mlflow.serving.request import param_schema
from ich_mlflow.serving.response import decision_columns, probability_columns, score_columns, series_columns
from ich_mlflow.serving.rows import DICOM, PIXELS, POSITION, SERIES, SPACING
from ich_mlflow.system.whole import write_whole

PACKAGE_FOLDER = Path(__file__).parents[1]
#: What a serving machine installs: no TensorFlow among them.
SERVING_PACKAGES = (
    "mlflow", "numpy", "pandas", "opencv-python-headless", "ai-edge-litert",
    "imagecodecs", "pybase64", "pydicom", "pyjpegls", "pylibjpeg", "pylibjpeg-openjpeg",
    "httptools", "uvloop",  # uvicorn takes them where they are, and answers sooner
)  # fmt: skip
_NOT_ON_WINDOWS = ("uvloop",)
KERAS_PACKAGES = ("mlflow", "keras", "tensorflow", "numpy")
#: The largest difference between what is served and Keras that a model may be logged with: a sure network amplifies the
#: rounding of float32, and one that learned from CT-ICH differs by 1.2e-4 on phantoms.
PARITY_TOLERANCE = 5e-4


def log_models(
    networks: Sequence[Network],
    specification: Specification,
    ancestry: Ancestry,
    *,
    name: str,
    unseen: Sequence[np.ndarray] = (),
    reference: str = "",
) -> tuple[str, str]:
    """Log the Keras model and the serving model on the active run; return their model URIs in that order.

    name: of the serving model in MLflow, as it would be registered; the Keras model's ends with `-keras`.
    networks: one, or the members of an ensemble, whose Keras models are not logged: '' is their URI. ancestry: what
    the model has learned from, its own training last; both say it. unseen: hashes of the patients that each member has
    not learned from, though others have. reference: the monitor's records of the exams that chose for it, '' without.
    Raises ModelError where what is served does not
    agree with Keras to PARITY_TOLERANCE.
    """
    for one in networks:
        _carry_ancestry(one.keras, ancestry)
    keras_uri = (
        _log_keras(networks[0], len(specification.labels), f"{name}-keras") if len(networks) == 1 else ""
    )
    with tempfile.TemporaryDirectory() as folder:
        assemble(networks, specification, ancestry, Path(folder))
        if len(unseen):
            np.savez(Path(folder) / UNSEEN_FILE, *unseen)
        if reference:
            write_whole(Path(folder) / REFERENCE_FILE, reference)
        check_parity(networks, Path(folder))
        Classifier(Path(folder)).seal()
        return keras_uri, _log_serving(folder, specification, name)


def log_again(
    classifier: Classifier, specification: Specification, ancestry: Ancestry, *, name: str, reference: str
) -> tuple[str, str]:
    """Log a model version's networks with another specification on the active run; return its URI and network_digest.

    Every file is copied but serving.json, ancestry.npz, the monitor's reference and the note of what the files are.
    Raises ModelError where the networks would not be the same, or say something else.
    """
    digest = network_digest(classifier.folder)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / "classifier"
        shutil.copytree(classifier.folder, folder, ignore=shutil.ignore_patterns(INTEGRITY_FILE))
        specification.write(folder / SPECIFICATION_FILE)
        ancestry.write(folder / ANCESTRY_FILE)
        write_whole(folder / REFERENCE_FILE, reference)
        again = Classifier(folder)
        if (
            network_digest(folder) != digest
            or again.said_of_known_slice() != classifier.said_of_known_slice()
        ):
            raise ModelError(
                f"the networks of {classifier.folder} were changed while they were copied: try again"
            )
        again.seal()
        return _log_serving(str(folder), specification, name), digest


def network_digest(folder: Path) -> str:
    """SHA-256 over a model version's networks, by names and contents: without what was chosen for them."""
    about = (SPECIFICATION_FILE, ANCESTRY_FILE, UNSEEN_FILE, REFERENCE_FILE, INTEGRITY_FILE)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in about]
    listed = "".join(f"{sha256_of(path)}  {path.relative_to(folder).as_posix()}\n" for path in files)
    return hashlib.sha256(listed.encode()).hexdigest()


def _log_serving(folder: str, specification: Specification, name: str) -> str:
    """Log the serving model of a classifier's folder; return its URI."""
    with warnings.catch_warnings():
        # MLflow advises an input example; a DICOM file does not belong into a model version.
        warnings.simplefilter("ignore", UserWarning)
        return mlflow.pyfunc.log_model(
            name=name,
            python_model=str(PACKAGE_FOLDER / "serving" / "model.py"),
            artifacts={"classifier": folder},
            code_paths=[str(PACKAGE_FOLDER)],
            model_config={"runtime": LITERT},
            signature=_serving_signature(specification),
            pip_requirements=pinned(SERVING_PACKAGES),
        ).model_uri


def _carry_ancestry(model: Any, ancestry: Ancestry) -> None:
    from ich_mlflow.models.slice_cnn.layers import carry_ancestry

    carry_ancestry(model, ancestry)


def _log_keras(network: Network, num_labels: int, name: str) -> str:
    info = mlflow.keras.log_model(
        network.keras,
        name=name,
        signature=_keras_signature(num_labels, network.keras.input),
        pip_requirements=pinned(KERAS_PACKAGES),
    )
    return str(info.model_uri)


def assemble(
    networks: Sequence[Network], specification: Specification, ancestry: Ancestry, folder: Path
) -> None:
    """Write what a Classifier opens: each network's files, serving.json and ancestry.npz."""
    specification.write(folder / SPECIFICATION_FILE)
    ancestry.write(folder / ANCESTRY_FILE)
    for one, place in zip(networks, member_folders(folder, specification.members), strict=True):
        place.mkdir(exist_ok=True)
        one.write(place)
        if one.features is not None:
            one.features.write(place / FEATURES_FILE)


def check_parity(networks: Sequence[Network], folder: Path) -> float:
    """The largest difference between what is served and what Keras says. ModelError above PARITY_TOLERANCE."""
    readers = Classifier(folder, runtime=LITERT).members
    difference = max(one.difference(reader) for one, reader in zip(networks, readers, strict=True))
    if not difference <= PARITY_TOLERANCE:
        raise ModelError(
            f"what would be served differs from Keras by {difference:.2g} in probability, expected at most "
            f"{PARITY_TOLERANCE:g}: the model is not logged, since serving would not answer as it was trained"
        )
    return difference


def load_classifier(model_uri: str, *, runtime: str = LITERT) -> Classifier:
    """The classifier inside a logged or registered serving model, run by this code and not by the model's own copy.

    Nothing of the copy is imported: it may be of another version, whose modules have other names. Raises ModelError
    for any other model, and for a version that this code can't read.
    """
    folder = _files(model_uri)
    found = sorted(folder.rglob(SPECIFICATION_FILE))
    if not found:
        raise _unreadable(model_uri, f"it holds no {SPECIFICATION_FILE}")
    try:
        return Classifier(found[0].parent, runtime=runtime)
    except ModelError as error:
        logged_by = _logged_by(folder)
        if logged_by == __version__:
            raise
        raise ModelError(
            f"model {model_uri!r} was logged by ich_mlflow {logged_by}, this is {__version__}: {error} (mlflow models "
            "serve runs it by its own code)"
        ) from error
    except Exception as error:  # runtimes raise many kinds
        raise _unreadable(model_uri, _first_line(error)) from error


def reference_text_of(model_uri: str) -> str:
    """The monitor's records that travel in a model version; '' of one that has none. Raises ModelError."""
    # beside its own specification: one that builds on another version has that one's files too
    found = sorted(_files(model_uri).rglob(SPECIFICATION_FILE))
    path = found[0].with_name(REFERENCE_FILE) if found else None
    return path.read_text(encoding="utf-8") if path is not None and path.is_file() else ""


def keras_file(model_uri: str) -> Path:
    """The .keras file inside a serving model or a Keras model, or the file that the URI itself is of.

    Raises ModelError where there is none.
    """
    path = _files(model_uri)
    if path.is_file():
        return path
    found = sorted(path.rglob(KERAS_FILE)) or sorted(path.rglob("*.keras"))
    if not found:
        raise ModelError(f"model {model_uri!r} holds no {KERAS_FILE}: train it again with this version")
    return found[0]


def size_mb(model_uri: str) -> float:
    """Size of a model version's files in MB, 10^6 bytes: what a serving machine downloads."""
    return sum(path.stat().st_size for path in _files(model_uri).rglob("*") if path.is_file()) / 1e6


def signature_fault(model_uri: str, replaced_uri: str | None) -> str:
    """'' where who sends requests to the replaced model may send them to this one, else what is wrong, in one line.

    Every column that went in must still do so, none more may be needed, and none that came out may be missing. Without
    a replaced model only `dicom` is asked for. Raises ModelError where the replaced model is not to be found.
    """
    new = _columns(model_uri)
    if replaced_uri is None:
        return "" if DICOM in new.takes else f"it takes {_listed(new.takes)}, expected a column dicom"
    try:
        old = _columns(replaced_uri)
    except (MlflowException, OSError) as error:
        raise _unreadable(replaced_uri, _first_line(error)) from None
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


def _files(model_uri: str) -> Path:
    """The folder of a model version's files, fetched where they are not here. Raises ModelError."""
    try:
        return Path(mlflow.artifacts.download_artifacts(model_uri))
    except Exception as error:  # MLflow and the stores behind it raise many kinds
        raise _unreadable(model_uri, _first_line(error)) from error


def _logged_by(folder: Path) -> str:
    """The version of ich_mlflow whose copy lies with a model version, read and not run."""
    for init in sorted(folder.glob(f"*/{PACKAGE_FOLDER.name}/__init__.py")):
        found = re.search(r'^__version__ = "(.+)"$', init.read_text(encoding="utf-8"), re.MULTILINE)
        if found:
            return found.group(1)
    return "of an unknown version"


def _unreadable(model_uri: str, reason: str) -> ModelError:
    return ModelError(
        f"model {model_uri!r} is no serving model of ich_mlflow or can't be loaded ({reason}): expected for example "
        "models:/ich-5class@champion or runs:/<run id>/serving"
    )


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _listed(columns: set[str]) -> str:
    return ", ".join(sorted(columns)) or "no column"


def pinned(packages: tuple[str, ...]) -> list[str]:
    """`name==version` as installed here, so that serving has the versions of training."""
    return [
        f"{name}=={version(name)}" + ('; sys_platform != "win32"' if name in _NOT_ON_WINDOWS else "")
        for name in packages
        if sys.platform != "win32" or name not in _NOT_ON_WINDOWS
    ]


def _serving_signature(specification: Specification) -> ModelSignature:
    inputs: list[ColSpec | TensorSpec] = [
        ColSpec(DataType.string, DICOM, required=False),
        # Any: what is wrong with them is said by row, and MLflow's check of nested lists is slow
        *(ColSpec(AnyType(), name, required=False) for name in (PIXELS, SPACING, SERIES, POSITION)),
    ]
    findings = specification.findings
    outputs: list[ColSpec | TensorSpec] = [
        *(ColSpec(DataType.double, name, required=False) for name in probability_columns(findings)),
        *(ColSpec(DataType.boolean, name, required=False) for name in decision_columns(findings)),
        *(ColSpec(DataType.double, name, required=False) for name in score_columns(findings)),
        *(ColSpec(DataType.double, name, required=False) for name in series_columns(specification)),
        *(ColSpec(DataType.string, name) for name in ("operating_point", "model_name", "model_version")),
        *(ColSpec(Array(DataType.string), name) for name in ("warnings", "caveats")),
        ColSpec(DataType.string, "error"),
    ]
    return ModelSignature(
        inputs=Schema(inputs), outputs=Schema(outputs), params=param_schema(specification.decides_by)
    )


def _keras_signature(num_labels: int, inputs: Any) -> ModelSignature:
    shape = (-1, *(int(size or -1) for size in inputs.shape[1:]))
    return ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.float32), shape, inputs.name)]),
        outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, num_labels))]),
    )

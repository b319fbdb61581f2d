"""What the slices' networks say of a stored set, computed once and kept on disk: what a training over series reads.

A patient that a member of an ensemble has not learned from, though others have, is read by that member. What it says
of the patients that it learned from is surer than what it will say of others, and no training should see that.

    <folder>/about.json          digests of the set and of the model's files, which inputs
    <folder>/inputs-00000.npz …  `rows` int64 [n], `inputs` float32 [n, C], of 64 series each
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.errors import ModelError
from ich_mlflow.models.ancestry import hashes
from ich_mlflow.models.exam_sequence.inputs import SliceModel, series_inputs
from ich_mlflow.models.series import known_positions
from ich_mlflow.system.whole import write_whole

_ABOUT_FILE = "about.json"
_SERIES_A_FILE = 64


@dataclass(frozen=True, kw_only=True)
class About:
    """What features are of: digests of the set and of the files of the slices' model, and the inputs' name."""

    data_digest: str
    model_digest: str
    inputs: str

    @property
    def folder_name(self) -> str:
        """Unlike for other sets and models."""
        return f"{self.data_digest[:12]}-{self.model_digest[:12]}-{self.inputs}"


def model_digest(folder: Path) -> str:
    """SHA-256 (hex) of all that decides what a version of the slices says: its networks, and how they are asked.

    Not the run that made it: two versions can come from one, and the package's own come from none.
    """
    digest = hashlib.sha256()
    for path in sorted(one for suffix in (".tflite", ".npz", ".json") for one in folder.rglob(f"*{suffix}")):
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def features_of(
    stored: StoredSet,
    series: Sequence[np.ndarray],
    members: Sequence[SliceModel],
    member_of: np.ndarray,
    *,
    about: About,
    with_features: bool,
    folder: Path,
    progress: Callable[[int], None],
) -> list[np.ndarray]:
    """Inputs float32 [n, C] of each series, rows in the order of the head; read where they are kept, else computed.

    series: rows of each. member_of [N]: which member reads each row's series. progress: called with slices done. What
    is computed is kept under `folder` file by file, so that a crash costs 64 series. Raises ModelError where what is
    kept is of another set or model, or damaged.
    """
    place = folder / about.folder_name
    _expect(place, about)
    found: list[np.ndarray] = []
    for number, start in enumerate(range(0, len(series), _SERIES_A_FILE)):
        part = series[start : start + _SERIES_A_FILE]
        path = place / f"inputs-{number:05d}.npz"
        if not path.is_file():
            computed = [
                _computed(stored, rows, members[member_of[rows[0]]], with_features=with_features)
                for rows in part
            ]
            arrays = {"rows": np.concatenate(part), "inputs": np.concatenate(computed)}
            write_whole(path, lambda file, arrays=arrays: np.savez(file, allow_pickle=False, **arrays))  # type: ignore[misc]
        found += _kept(path, part)
        progress(sum(map(len, part)))
    return found


def _computed(stored: StoredSet, rows: np.ndarray, member: SliceModel, *, with_features: bool) -> np.ndarray:
    position_mm = known_positions(stored.table["position_mm"].to_numpy()[rows])
    return series_inputs(member, stored.hu(rows), position_mm, with_features=with_features)


def _expect(place: Path, about: About) -> None:
    """Make the folder, or raise ModelError where it is of something else."""
    path = place / _ABOUT_FILE
    if not path.is_file():
        place.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(asdict(about)))
        return
    try:
        known = About(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        raise ModelError(
            f"{path} can't be read, expected it to name the stored set and the model of the stored "
            f"features: remove {place}"
        ) from None
    if known != about:
        raise ModelError(
            f"the features in {place} are of stored set {known.data_digest[:12]} and model "
            f"{known.model_digest[:12]}, expected {about.data_digest[:12]} and {about.model_digest[:12]}: remove "
            "the folder"
        )


def _kept(path: Path, part: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The inputs of those series, as the file has them."""
    rows = np.concatenate(part)
    try:
        with np.load(path, allow_pickle=False) as file:
            kept, inputs = file["rows"], file["inputs"]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        raise ModelError(f"{path} is damaged, expected features of {len(rows)} slices: remove it") from None
    if not np.array_equal(kept, rows):
        raise ModelError(
            f"{path} has features of other slices, expected those of {len(rows)} slices: remove it"
        )
    return np.split(inputs, np.cumsum([len(one) for one in part])[:-1])


def member_of_patients(patient_ids: np.ndarray, unseen: Sequence[np.ndarray], num_members: int) -> np.ndarray:
    """Which member reads each row, int64 [N]: the one that has not learned from its patient; of a patient that none has
    learned from, or of a model without such a record, one by the patient's hash, the same every time.

    unseen: hashes of the patients that each member has not learned from, as an ensemble's version has them.
    """
    patients, patient_of = np.unique(patient_ids.astype(str), return_inverse=True)
    hashed = np.array([int(hashes([one or "-"])[0]) for one in patients], dtype=np.uint64)
    chosen = (hashed % np.uint64(num_members)).astype(np.int64)
    for member, left_out in enumerate(unseen):
        chosen[np.isin(hashed, left_out)] = member
    return chosen[patient_of]

"""Where a phantom's blood is: one small PNG a slice that shows some, beside the cohort's DICOM files.

<cohort>/lesions/<sop_uid>.png   uint8 [rows, columns], bit i set where the blood of labels.SUBTYPES[i] is
"""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ich_mlflow.errors import DataError
from ich_mlflow.labels import SUBTYPES

LESIONS_FOLDER = "lesions"
_BITS = 1 << np.arange(len(SUBTYPES), dtype=np.uint8)


def write_lesions(folder: Path, sop_uid: str, blood: np.ndarray) -> None:
    """Write the masks bool [5, rows, columns] of a slice, in SUBTYPES order; nothing where there is no blood.

    folder: the cohort's. Raises ValueError for another shape, OSError where it can't be written.
    """
    if blood.ndim != 3 or len(blood) != len(SUBTYPES):
        raise ValueError(f"blood has shape {blood.shape}, expected [{len(SUBTYPES)}, rows, columns]")
    if not blood.any():
        return
    bits = (blood * _BITS[:, None, None]).sum(axis=0, dtype=np.uint8)
    path = _path(folder, sop_uid)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(cv2.imencode(".png", bits)[1].tobytes())


def read_lesions(folder: Path, sop_uid: str) -> np.ndarray | None:
    """The masks bool [5, rows, columns] of a slice, aligned with its pixels; None where it shows no blood.

    folder: a cohort's; one that was made before there were masks has none. Raises DataError where the file is
    no such mask.
    """
    path = _path(folder, sop_uid)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    return (parse_lesions(data, str(path)) & _BITS[:, None, None]) > 0


def parse_lesions(data: bytes, name: str) -> np.ndarray:
    """The blood uint8 [rows, columns] in the bytes of a mask's file. Raises DataError, naming `name`, else."""
    values = np.frombuffer(data, np.uint8)
    bits: Any = cv2.imdecode(values, cv2.IMREAD_UNCHANGED) if len(values) else None
    if bits is None or bits.ndim != 2 or bits.dtype != np.uint8 or (bits >> len(SUBTYPES)).any():
        raise DataError(
            f"{name} is no lesion mask, expected a grey PNG of 8 bits with {len(SUBTYPES)} in use: remove the "
            "cohort and make it again"
        )
    return np.asarray(bits)


def has_lesions(folder: Path) -> bool:
    """Whether a cohort has masks."""
    return (Path(folder) / LESIONS_FOLDER).is_dir()


def _path(folder: Path, sop_uid: str) -> Path:
    return Path(folder) / LESIONS_FOLDER / f"{sop_uid}.png"

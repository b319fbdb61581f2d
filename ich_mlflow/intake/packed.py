"""Zips among the files of a folder, as of exports with one a patient."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from ich_mlflow.errors import DataError
from ich_mlflow.intake.archive import MAX_FILES, is_zip, unpack
from ich_mlflow.intake.files import InputFile
from ich_mlflow.intake.survey import ARCHIVE, Skipped


def _is_zip(file: InputFile) -> bool:
    return not file.leads_out and file.name.lower().endswith(".zip") and is_zip(file.path)


def with_unpacked(files: Sequence[InputFile], folder: Path) -> tuple[list[InputFile], list[Skipped]]:
    """The files with what is in each zip in its place, unpacked below `folder`, and the zips that were refused.

    A zip is told by its name and its content: Word files are zips too. Each has the limits of a lone one
    (intake.archive), and one that is refused does not end the others. Raises DataError where all together hold more
    than MAX_FILES files.
    """
    found: list[InputFile] = []
    refused: list[Skipped] = []
    zips = {file for file in files if _is_zip(file)}
    with tqdm(total=len(zips), desc="zips", unit="zip", disable=None if zips else True, leave=False) as bar:
        for file in files:
            if file not in zips:
                found.append(file)
                continue
            try:
                inside = unpack(file.path, folder / hashlib.sha256(file.name.encode()).hexdigest()[:16])
            except DataError as error:
                refused.append(Skipped(file=file.name, reason=ARCHIVE, detail=str(error)))
                inside = []
            found += [
                InputFile(
                    name=f"{file.name}/{one.name}", path=one.path, num_bytes=one.num_bytes, stamp=one.stamp
                )
                for one in inside
            ]
            bar.update()
    if zips and len(found) > MAX_FILES:
        raise DataError(
            f"the zips of the input hold more than {MAX_FILES:,} files together: pass fewer at a time"
        )
    return found, refused

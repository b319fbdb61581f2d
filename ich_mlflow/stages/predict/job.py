"""What a prediction goes by: its input, model, settings and folder."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ich_mlflow.errors import DataError
from ich_mlflow.intake.files import InputFile, files_digest, files_of, is_dicomdir
from ich_mlflow.parameters import AUTO, text_of
from ich_mlflow.prediction.out_folder import FILES, OutFolder, digest_of
from ich_mlflow.serving.request import Asked
from ich_mlflow.serving.response import Answerer, ModelVersion
from ich_mlflow.stages.common.scoring import LoadedModel
from ich_mlflow.stages.predict.options import PredictOptions
from ich_mlflow.system.processes import num_cores

PREDICTIONS_FOLDER = Path("predictions")
#: What MLflow keeps where the command is called, should that be the input.
_OURS = ("mlflow.db", "mlruns", "mlartifacts")
#: Made once where no input is named, to look at what the stage does.
PHANTOM_STUDIES = Path("data") / "phantom-studies"


@dataclass(frozen=True, kw_only=True)
class Job:
    """All that a prediction goes by. but: what below the input is ours. settings: what tells it from another one."""

    options: PredictOptions
    model: LoadedModel
    answerer: Answerer
    asked: Asked
    out: OutFolder
    but: tuple[Path, ...]
    settings: dict[str, Any]

    @property
    def workers(self) -> int:
        return self.options.workers or num_cores()


def input_of(options: PredictOptions) -> Path:
    """Where the studies are, made where no input is named. Raises DataError where nothing is there."""
    if options.input != AUTO:
        path = Path(os.path.expanduser(options.input)).absolute()
        if not path.exists():
            raise DataError(
                f"input {path} is not there, expected a DICOM file, a folder or a zip: pass -P input=<path>"
            )
        if is_dicomdir(path):
            print("input is a DICOMDIR: the folder that it stands in is scored")
            return path.parent
        return path
    if not PHANTOM_STUDIES.is_dir():
        from ich_mlflow.phantom.studies import StudySetOptions, write_study_set  # loads the anatomy

        print(f"no input was named: phantom studies are made in {PHANTOM_STUDIES}")
        part = PHANTOM_STUDIES.with_name(f"{PHANTOM_STUDIES.name}.partial")
        write_study_set(part, StudySetOptions(studies=4, exam_rate=0.35, junk=12))
        part.rename(PHANTOM_STUDIES)
    return PHANTOM_STUDIES.absolute()


def job_of(options: PredictOptions, path: Path, model: LoadedModel) -> Job:
    """All that the prediction of that input by that model goes by."""
    specification = model.specification
    if options.engine == "spark" and specification.abstention is not None:
        # executors send labels alone: no distance, which cannot_abstain then says
        specification = replace(
            specification, abstention=replace(specification.abstention, far_from=None, patients=0)
        )
    version = ModelVersion.of(model.uri, specification)
    decides_by = specification.decides_by if options.operating_point == AUTO else options.operating_point
    told = {
        "model": model.uri,
        "series": options.series,
        "operating_point": decides_by,
        "pictures": options.pictures,
        "dicom": text_of(options.dicom),
        "abstain": text_of(options.abstain),
        # what the two find is the same but for the feature distance
        **({"engine": options.engine} if specification != model.specification else {}),
    }
    ours = Path(os.path.expanduser(PREDICTIONS_FOLDER if options.out == AUTO else options.out)).absolute()
    noted = [] if options.monitor == AUTO else [Path(os.path.expanduser(options.monitor)).absolute()]
    but = (ours, *noted, *(Path(name).absolute() for name in _OURS))
    settings = {"input": str(path), "options": told, FILES: files_digest(input_files(options, path, but))}
    # No part of the input's name: it may be a patient's.
    name = digest_of(path, *told.values(), settings[FILES])
    out = OutFolder(ours / name if options.out == AUTO else ours)
    return Job(
        options=options,
        model=model,
        answerer=Answerer(specification=specification, version=version),
        asked=Asked(operating_point=decides_by, abstain=options.abstain),
        out=out,
        but=but,
        settings=settings,
    )


def input_files(options: PredictOptions, path: Path, but: tuple[Path, ...]) -> list[InputFile]:
    """The files of the input, without what is the project's own."""
    return files_of(path, but=but, follow_links=options.follow_links)

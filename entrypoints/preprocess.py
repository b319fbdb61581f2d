"""`mlflow run . -e preprocess`: PreprocessOptions in, ich_mlflow/stages/preprocess/preprocess.py called."""

import sys

from ich_mlflow.cli import launch
from ich_mlflow.options import PreprocessOptions

if __name__ == "__main__":
    sys.exit(launch(PreprocessOptions, "ich_mlflow.stages.preprocess.preprocess:preprocess"))

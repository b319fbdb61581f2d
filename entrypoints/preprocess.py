"""`mlflow run . -e preprocess`: ich_mlflow/workflows/preprocess.py with the options of ich_mlflow.options.PreprocessOptions."""

import sys

from ich_mlflow.cli import launch
from ich_mlflow.options import PreprocessOptions

if __name__ == "__main__":
    sys.exit(launch(PreprocessOptions, "ich_mlflow.workflows.preprocess:preprocess"))

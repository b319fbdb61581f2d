"""`mlflow run . -e main`: MainOptions in, ich_mlflow/stages/main/main.py called."""

import sys

from ich_mlflow.cli import launch
from ich_mlflow.options import MainOptions

if __name__ == "__main__":
    sys.exit(launch(MainOptions, "ich_mlflow.stages.main.main:main"))

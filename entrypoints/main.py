"""`mlflow run . -e main`: ich_mlflow/workflows/main.py with the options of ich_mlflow.options.MainOptions."""

import sys

from ich_mlflow.cli import launch
from ich_mlflow.options import MainOptions

if __name__ == "__main__":
    sys.exit(launch(MainOptions, "ich_mlflow.workflows.main:main"))

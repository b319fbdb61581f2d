"""`mlflow run . -e train`: options in, ich_mlflow/stages/train/ run."""

import sys

from ich_mlflow.cli import launch

if __name__ == "__main__":
    sys.exit(launch("train"))

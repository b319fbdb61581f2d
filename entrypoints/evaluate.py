"""`mlflow run . -e evaluate`: options in, ich_mlflow/stages/evaluate/ run."""

import sys

from ich_mlflow.cli import launch

if __name__ == "__main__":
    sys.exit(launch("evaluate"))

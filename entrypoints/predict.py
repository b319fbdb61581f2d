"""`mlflow run . -e predict`: options in, ich_mlflow/stages/predict/ run."""

import sys

from ich_mlflow.cli import launch

if __name__ == "__main__":
    sys.exit(launch("predict"))

"""`mlflow run . -e preprocess`: options in, ich_mlflow/stages/preprocess/ run."""

import sys

from ich_mlflow.cli import launch

if __name__ == "__main__":
    sys.exit(launch("preprocess"))

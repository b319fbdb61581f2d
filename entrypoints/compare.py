"""`mlflow run . -e compare`: options in, ich_mlflow/stages/compare/ run."""

import sys

from ich_mlflow.cli import launch

if __name__ == "__main__":
    sys.exit(launch("compare"))

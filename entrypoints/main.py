"""`mlflow run . -e main`: options in, ich_mlflow/stages/main/ run."""

import sys

from ich_mlflow.cli import launch

if __name__ == "__main__":
    sys.exit(launch("main"))

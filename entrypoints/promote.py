"""`mlflow run . -e promote`: options in, ich_mlflow/stages/promote/ run."""

import sys

from ich_mlflow.cli import launch

if __name__ == "__main__":
    sys.exit(launch("promote"))

"""`mlflow run . -e recalibrate`: options in, ich_mlflow/stages/recalibrate/ run."""

import sys

from ich_mlflow.cli import launch

if __name__ == "__main__":
    sys.exit(launch("recalibrate"))

"""`mlflow run . -e monitor`: options in, ich_mlflow/stages/monitor/ run."""

import sys

from ich_mlflow.cli import launch

if __name__ == "__main__":
    sys.exit(launch("monitor"))

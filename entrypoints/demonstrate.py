"""`mlflow run . -e demonstrate`: options in, ich_mlflow/stages/demonstrate/ run."""

import sys

from ich_mlflow.cli import launch

if __name__ == "__main__":
    sys.exit(launch("demonstrate"))

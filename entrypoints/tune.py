"""`mlflow run . -e tune`: options in, ich_mlflow/stages/tune/ run."""

import sys

from ich_mlflow.cli import launch

if __name__ == "__main__":
    sys.exit(launch("tune"))

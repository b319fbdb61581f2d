"""`mlflow run . -e pretrain`: options in, ich_mlflow/stages/pretrain/ run."""

import sys

from ich_mlflow.cli import launch

if __name__ == "__main__":
    sys.exit(launch("pretrain"))

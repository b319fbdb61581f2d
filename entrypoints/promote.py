"""`mlflow run . -e promote`: PromoteOptions in, ich_mlflow/stages/promote/promote.py called."""

import sys

from ich_mlflow.cli import launch
from ich_mlflow.options import PromoteOptions

if __name__ == "__main__":
    sys.exit(launch(PromoteOptions, "ich_mlflow.stages.promote.promote:command"))

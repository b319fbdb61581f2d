"""`mlflow run . -e promote`: ich_mlflow/workflows/promote.py with the options of ich_mlflow.options.PromoteOptions."""

import sys

from ich_mlflow.cli import launch
from ich_mlflow.options import PromoteOptions

if __name__ == "__main__":
    sys.exit(launch(PromoteOptions, "ich_mlflow.workflows.promote:promote"))

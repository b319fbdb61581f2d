"""`mlflow run . -e evaluate`: ich_mlflow/workflows/evaluate.py with the options of ich_mlflow.options.EvaluateOptions."""

import sys

from ich_mlflow.cli import launch
from ich_mlflow.options import EvaluateOptions

if __name__ == "__main__":
    sys.exit(launch(EvaluateOptions, "ich_mlflow.workflows.evaluate:evaluate"))

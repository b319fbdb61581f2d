"""`mlflow run . -e evaluate`: EvaluateOptions in, ich_mlflow/stages/evaluate/evaluate.py called."""

import sys

from ich_mlflow.cli import launch
from ich_mlflow.options import EvaluateOptions

if __name__ == "__main__":
    sys.exit(launch(EvaluateOptions, "ich_mlflow.stages.evaluate.evaluate:evaluate"))

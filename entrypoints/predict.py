"""`mlflow run . -e predict`: PredictOptions in, ich_mlflow/stages/predict/predict.py called."""

import sys

from ich_mlflow.cli import launch
from ich_mlflow.options import PredictOptions

if __name__ == "__main__":
    sys.exit(launch(PredictOptions, "ich_mlflow.stages.predict.predict:predict"))

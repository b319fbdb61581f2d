"""`mlflow run . -e train`: ich_mlflow/workflows/train.py with the options of ich_mlflow.options.TrainOptions."""

import sys

from ich_mlflow.cli import launch
from ich_mlflow.options import TrainOptions

if __name__ == "__main__":
    sys.exit(launch(TrainOptions, "ich_mlflow.workflows.train:train"))

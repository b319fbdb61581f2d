"""`mlflow run . -e train`: TrainOptions in, ich_mlflow/stages/train/train.py called."""

import sys

from ich_mlflow.cli import launch
from ich_mlflow.options import TrainOptions

if __name__ == "__main__":
    sys.exit(launch(TrainOptions, "ich_mlflow.stages.train.train:train"))

"""`mlflow run . -e pretrain`: PretrainOptions in, ich_mlflow/stages/pretrain/pretrain.py called."""

import sys

from ich_mlflow.cli import launch
from ich_mlflow.options import PretrainOptions

if __name__ == "__main__":
    sys.exit(launch(PretrainOptions, "ich_mlflow.stages.pretrain.pretrain:pretrain_weights"))

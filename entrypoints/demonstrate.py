"""`mlflow run . -e demonstrate`: DemonstrateOptions in, ich_mlflow/stages/demonstrate/demonstrate.py called."""

import sys

from ich_mlflow.cli import launch
from ich_mlflow.options import DemonstrateOptions

if __name__ == "__main__":
    sys.exit(launch(DemonstrateOptions, "ich_mlflow.stages.demonstrate.demonstrate:demonstrate"))

"""The whole job: preprocess, train, evaluate and promote as child runs of one parent."""

from ich_mlflow.commands import serve_command
from ich_mlflow.parameters import taken_from, typed
from ich_mlflow.stages.common.names import registered_name
from ich_mlflow.stages.common.recipes import chosen_hyperparameters
from ich_mlflow.stages.evaluate.evaluate import evaluate
from ich_mlflow.stages.evaluate.options import EvaluateOptions
from ich_mlflow.stages.main.options import MainOptions
from ich_mlflow.stages.promote.options import PromoteOptions
from ich_mlflow.stages.promote.promote import promote_candidate
from ich_mlflow.stages.train.options import TrainOptions
from ich_mlflow.stages.train.train import open_stored_set, train
from ich_mlflow.tracking.registry import CHAMPION, alias_version
from ich_mlflow.tracking.run import start_run
from ich_mlflow.tracking.versions import CANDIDATE


def main(options: MainOptions) -> None:
    """Run the four stages and print the commands that look at the result and serve it."""
    with start_run("main") as run:
        run.params(typed(options), prefix="main")
        training = taken_from(options, TrainOptions)
        chosen_hyperparameters(training)  # a mistake in a recipe's file shows before minutes go into the data
        trained = train(training, nested=True, stored=open_stored_set(training))
        evaluated = evaluate(
            EvaluateOptions(model=trained.serving_uri, data=str(trained.stored_path)), nested=True
        )
        assert evaluated is not None
        promote_candidate(PromoteOptions(run=trained.run_id), nested=True, evaluated=evaluated)
        run.metrics(evaluated.as_metrics())
        name = registered_name(trained.num_classes, str(evaluated.scored.stored.manifest["source"]))
        run.call(name, trained.stored_path.name)
        run.describe(
            f"**Data**: {trained.stored_path}",
            f"**Model**: `{trained.serving_uri}`, registered as `{name}`",
            "**Results**: the description of the evaluate run below has them, and its report.html",
        )
    source = str(evaluated.scored.stored.manifest["source"])
    print(
        f"\n{_serve(registered_name(trained.num_classes, source))}\nResearch software, not a medical device."
    )


def _serve(name: str) -> str:
    """The command that serves the champion of that name; where none was promoted yet, the candidate."""
    version = alias_version(name, CHAMPION)
    alias = CANDIDATE if version is None else CHAMPION
    version = version or alias_version(name, CANDIDATE)
    return f"Serve the {f'{alias}:':<11}{serve_command(f'models:/{name}@{alias}')}   (version {version})"

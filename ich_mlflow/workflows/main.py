"""The whole job: preprocess, train, evaluate and promote as child runs of one parent."""

from dataclasses import asdict

from ich_mlflow.commands import LOOK_AT_RUNS, serve_command
from ich_mlflow.labels import class_scheme
from ich_mlflow.options import EvaluateOptions, MainOptions, PromoteOptions
from ich_mlflow.tracking.registry import CHAMPION, alias_version
from ich_mlflow.tracking.run import start_run
from ich_mlflow.workflows.evaluate import evaluate
from ich_mlflow.workflows.promote import promote
from ich_mlflow.workflows.recipes import chosen_hyperparameters
from ich_mlflow.workflows.train import open_stored_set, train


def main(options: MainOptions) -> None:
    """Run the four stages and print the commands that look at the result and serve it."""
    with start_run("main") as run:
        run.params(asdict(options), prefix="main")
        chosen_hyperparameters(options)  # a mistake in them shows before minutes go into the data
        trained = train(options, nested=True, stored=open_stored_set(options))
        evaluated = evaluate(
            EvaluateOptions(model=trained.serving_uri, data=str(trained.stored_path)), nested=True
        )
        assert evaluated is not None
        promote(PromoteOptions(run=trained.run_id), nested=True, evaluated=evaluated)
        run.metrics(evaluated.as_metrics())
    name = class_scheme(trained.num_classes).model_name
    version = alias_version(name, CHAMPION)
    print(
        f"\nLook at the runs:    {LOOK_AT_RUNS}\n"
        f"Serve the champion:  {serve_command(f'models:/{name}@{CHAMPION}')}   (version {version})\n"
        "Research software, not a medical device."
    )

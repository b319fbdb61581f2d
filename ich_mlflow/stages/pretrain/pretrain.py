"""Make weights that start ahead: pretrain a backbone on a large phantom cohort, with its blood as a second target."""

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import keras

from ich_mlflow.commands import next_command
from ich_mlflow.dataset.split import assert_disjoint
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.errors import DataError
from ich_mlflow.labels import SUBTYPES
from ich_mlflow.models.slice_cnn.backbone_graph import build_backbone
from ich_mlflow.models.slice_cnn.pretraining import build_pretraining
from ich_mlflow.models.weights import WITHOUT_PATIENTS, put_weights, read_weights, shipped_path
from ich_mlflow.parameters import typed
from ich_mlflow.phantom.cohort import CohortOptions, write_cohort
from ich_mlflow.phantom.lesions import has_lesions, read_lesions
from ich_mlflow.stages.common.initial_weights import initial_weights, pinned, say_start
from ich_mlflow.stages.common.stored_sets import DATA_FOLDER
from ich_mlflow.stages.common.unfinished import Unfinished, begin, to_resume
from ich_mlflow.stages.preprocess.options import PreprocessOptions
from ich_mlflow.stages.preprocess.preprocess import preprocess
from ich_mlflow.stages.pretrain.options import LITE0_START, PretrainOptions
from ich_mlflow.stages.pretrain.results import Pretrained, validation_scores
from ich_mlflow.system.provenance import git_commit, versions
from ich_mlflow.tracking.run import Run, start_run
from ich_mlflow.training.initial_weights import InitialWeights
from ich_mlflow.training.pretrain import PretrainSettings
from ich_mlflow.training.pretrain import pretrain as fit_pretraining
from ich_mlflow.training.pretraining_batches import PretrainingBatches

#: Pixels a side of a pretraining phantom: the stored set's, at a fifth of the time that 512 take.
ROWS = 256
#: Patients that validate and that test, in all.
HELD_OUT = 0.06
#: An epoch is this part of a pass over the cohort, so that a crash loses little.
PARTS = 10


def pretrain(options: PretrainOptions) -> Path:
    """Pretrain by the options; return the file of weights, which is also logged on the run.

    With resume=true, which is the default, it goes on with the unfinished pretraining of the same options.
    """
    _expect_writable(Path(options.out))
    options = replace(options, weights=pinned(options.weights))
    with ExitStack() as locks:
        before = to_resume(options, locks)
        with start_run("pretrain", resume=before.run_id if before else None, system_metrics=True) as run:
            unfinished = before or begin(options, run.run_id, locks)
            try:
                path = _pretrain(run, options, unfinished)
            except KeyboardInterrupt:
                print(f"stopped; the same command goes on from the last epoch ({unfinished.folder})")
                raise
        unfinished.remove()
        return path


def pretraining_set(options: PretrainOptions) -> StoredSet:
    """The cohort as a stored set: made, or found made before."""
    cohort = CohortOptions(
        exams=options.exams,
        seed=options.seed,
        exam_rate=options.bleeds,
        rows=ROWS,
        edition=options.phantom_edition,
    )
    folder = write_cohort(cohort_folder(options), cohort)
    return preprocess(
        PreprocessOptions(
            source="phantom",
            data=str(folder),
            seed=options.seed,
            compress=True,
            validation_fraction=HELD_OUT / 2,
            test_fraction=HELD_OUT / 2,
        ),
        nested=True,
    )


def cohort_folder(options: PretrainOptions) -> Path:
    """Where the cohort and its masks are. Not what the stored set says of that: it may have been moved since."""
    edition = "" if options.phantom_edition == 1 else f"-edition-{options.phantom_edition}"
    return DATA_FOLDER / f"pretraining-{options.exams}-{options.seed}-{options.bleeds:g}{edition}"


def _pretrain(run: Run, options: PretrainOptions, unfinished: Unfinished) -> Path:
    run.params(typed(options), prefix="pretrain")
    run.params(versions(), prefix="version")
    run.tags({"ich.git_commit": git_commit()})
    # The network first: a mistake in weights= shows before the cohort is made.
    keras.utils.set_random_seed(options.seed)
    start = _start(options, unfinished)
    network = build_pretraining(name=options.backbone, backbone=start.backbone)
    unfinished.keep_ancestry(start.ancestry)
    unfinished.note(start=start.said)
    say_start(start)
    stored = _expected(pretraining_set(options), options, unfinished)
    run.dataset(
        stored.table,
        source=stored.path,
        name="phantom-pretraining",
        digest=stored.digest,
        context="pretraining",
    )
    train, validation, test = (_batches(stored, options, split) for split in ("train", "validation", "test"))
    history = fit_pretraining(
        network,
        train=train,
        validation=validation,
        settings=PretrainSettings(
            epochs=options.epochs, learning_rate=options.learning_rate, lesion_weight=options.lesion_weight
        ),
        score=validation_scores,
        on_epoch=_on_epoch(run, options),
        checkpoint=unfinished.state_path,
    )
    pretrained = Pretrained(
        run=run,
        options=options,
        stored=stored,
        network=network,
        start=start.said,
        before=start.ancestry,
        history=history,
    )
    pretrained.log_pictures(test)
    tested = pretrained.log_tested(test)
    path = pretrained.write_weights(tested, image_size=validation.image_sizes[0])
    pretrained.write_specifications(validation)
    print(
        f"weights written: {path} ({path.stat().st_size / 1e6:.1f} MB)\n"
        f"start from them:  {next_command('train', weights=path)}"
    )
    return path


def _on_epoch(run: Run, options: PretrainOptions) -> Callable[[int, dict[str, float]], None]:
    """What logs and prints an epoch; those that the run has already are passed over."""
    logged = run.steps("epoch/loss") if run.resumed else set()

    def on_epoch(epoch: int, figures: dict[str, float]) -> None:
        if epoch not in logged:
            run.metrics({f"epoch/{name}": value for name, value in figures.items()}, step=epoch)
            print(_line(epoch, options.epochs, figures), flush=True)

    return on_epoch


def _expected(stored: StoredSet, options: PretrainOptions, unfinished: Unfinished) -> StoredSet:
    """The cohort, as it has to be to learn from. Raises DataError where it isn't."""
    _expect_bleeds(stored)
    if not has_lesions(cohort_folder(options)):
        raise DataError(
            f"{cohort_folder(options)} has no masks of the blood, which its cohort came with: remove the folder, and "
            "the same command makes it again"
        )
    _expect_same_data(unfinished, stored)
    assert_disjoint(stored.table["patient_id"].to_numpy(), stored.table["split"].to_numpy())
    return stored


def _start(options: PretrainOptions, unfinished: Unfinished) -> InitialWeights:
    """What pretraining starts from. Where it goes on its checkpoint brings the weights, its notes what is said."""
    name = options.backbone
    if unfinished.state_path.exists():
        backbone = build_backbone(name=name, image_size=None)
        before = unfinished.ancestry("imagenet" if options.weights == LITE0_START else options.weights)
        return InitialWeights(
            backbone=backbone, name=options.weights, said=unfinished.notes["start"], ancestry=before
        )
    if options.weights != LITE0_START:
        return initial_weights(options.weights, name=name, image_size=None)
    backbone = build_backbone(name=name, image_size=None)
    put_weights(backbone, read_weights(shipped_path("efficientnet-lite0-imagenet")).arrays, partly=True)
    return InitialWeights(
        backbone=backbone,
        name=LITE0_START,
        said="weights: starts from the convolutions of EfficientNet-Lite0, of ImageNet",
        ancestry=WITHOUT_PATIENTS["imagenet"],
    )


def _batches(stored: StoredSet, options: PretrainOptions, split: str) -> PretrainingBatches:
    training, folder = split == "train", cohort_folder(options)
    sizes = options.parsed_image_sizes
    return PretrainingBatches(
        stored,
        stored.rows(split),
        lambda uid: read_lesions(folder, uid),
        batch_size=options.batch_size,
        image_sizes=sizes if training else (sizes[len(sizes) // 2],),
        seed=options.seed,
        parts=PARTS if training else 1,
        augment=training,
    )


def _expect_writable(folder: Path) -> None:
    """Raises DataError now, not after hours, where the weights can't be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise DataError(
            f"{folder} can't be written ({error.strerror}): pass -P out=<a folder that can>"
        ) from None


def _expect_bleeds(stored: StoredSet) -> None:
    """Raises DataError where the cohort is too small or too healthy to learn from, or to tell what was learned."""
    for split in ("train", "validation", "test"):
        targets = stored.subtypes[stored.rows(split)].astype(bool)
        told_apart = targets.any(axis=0) & ~targets.all(axis=0)
        if not (told_apart.all() if split == "train" else told_apart.any()):
            without = [name for name, can in zip(SUBTYPES, told_apart, strict=True) if not can]
            raise DataError(
                f"the {split} split of {stored.path} has no slices with and without {', '.join(without)}: pass more "
                "-P exams= or higher -P bleeds="
            )


def _expect_same_data(unfinished: Unfinished, stored: StoredSet) -> None:
    began_with = unfinished.notes.get("digest", stored.digest)
    stored.expect_digest(began_with, begun="the pretraining", anew="pass -P resume=false to begin anew")
    unfinished.note(digest=stored.digest)


def _line(epoch: int, epochs: int, figures: dict[str, float]) -> str:
    return (
        f"epoch {epoch + 1}/{epochs}  loss {figures['loss']:.4f}  val mean AUC "
        f"{figures.get('val/auc/macro', float('nan')):.3f}  val Dice {figures['val_dice']:.3f}  "
        f"{figures['seconds']:.0f} s, {figures['slices_per_second']:.0f} slices/s"
    )

"""Where the network looked: heat maps of positive slices and, on phantoms, whether they point at the lesion."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from tqdm import tqdm

from ich_mlflow.evaluation.blood import mean_over_patients
from ich_mlflow.evaluation.pointing import Pointed, point
from ich_mlflow.figures.overlay import overlay_figure
from ich_mlflow.serving.classifier import Classifier
from ich_mlflow.stages.common.evaluation import Pointing
from ich_mlflow.stages.common.results import PREFIX
from ich_mlflow.stages.common.scoring import BATCH_SIZE, Scored
from ich_mlflow.stages.common.stored_sets import data_note
from ich_mlflow.stages.evaluate.lesions import has_masks, masks_of
from ich_mlflow.tracking.run import Run

#: The pointing game is played on so many positive slices of a label at most.
MAX_POINTED = 300


@dataclass(frozen=True, kw_only=True)
class _Shown:
    """A slice of the figure; lesion, peak and hit are None where there are no masks."""

    hu: np.ndarray
    map: np.ndarray
    caption: str
    lesion: np.ndarray | None
    peak: np.ndarray | None
    hit: bool | None


def log_heat_maps(
    run: Run, classifier: Classifier, scored: Scored, *, num_shown: int, num_resamples: int
) -> Pointing | None:
    """Log heat maps of the positive slices with the highest probabilities; None where there are no lesion masks.

    Nor are there any of a model whose family has no heat maps. Where only some slices have masks, those are shown and
    counted.
    """
    if num_shown == 0 or scored.slices is None or not classifier.can_explain:
        return None
    masked = has_masks(scored)
    each = max(1, num_shown // len(scored.specification.labels))
    shown: list[_Shown] = []
    counted = []
    labels = tqdm(scored.specification.labels, desc="heat maps", unit="label", leave=False)
    for i, label in enumerate(labels):
        places = np.flatnonzero(scored.slices.targets[:, i])
        if masked:
            places = places[_has_mask(scored, scored.rows[places], label)]
        if not len(places):
            continue
        best = places[np.argsort(-scored.probabilities[places, i], kind="stable")]
        # the game is played on a fixed, even choice of all positives, the pictures show the surest
        counting = places[:: -(-len(places) // MAX_POINTED)] if masked else best[:each]
        played = np.union1d(counting, best[:each])
        rows = scored.rows[played]
        maps = _maps(classifier, scored, rows, i)
        hu = scored.stored.hu(rows)
        lesions = masks_of(scored, rows, label)[0] if masked else None
        pointed = None if lesions is None else point(maps, lesions, hu)
        if pointed is not None:
            patients = scored.slices.patients[played]
            counted.append(
                _counted(label, pointed, np.isin(played, counting), patients, num_resamples=num_resamples)
            )
            tolerance = pointed.tolerance
        for place in best[:each]:
            at = int(np.flatnonzero(played == place)[0])
            shown.append(
                _Shown(
                    hu=hu[at],
                    map=np.maximum(maps[at], 0),
                    caption=f"{label}: probability {scored.probabilities[place, i]:.2f}"
                    + ("" if maps[at].max() > 0 else "\nno place speaks for it"),
                    lesion=None if lesions is None else lesions[at],
                    peak=None if pointed is None else pointed.peaks[at],
                    hit=None if pointed is None else bool(pointed.hits[at]),
                )
            )
    if shown:
        _log_figure(run, scored, shown[:num_shown], finds_blood=classifier.finds_blood)
    if not counted:
        return None
    table = pd.DataFrame(counted)
    run.table(table, f"tables/{PREFIX}_pointing_game.json")
    run.metrics({f"{PREFIX}/pointing_game/{row.label}": row.rate for row in table.itertuples()})
    for end in ("low", "high"):
        known = table[table[end].notna()]
        run.metrics(
            {
                f"{PREFIX}/pointing_game_{end}/{label}": value
                for label, value in zip(known["label"], known[end], strict=True)
            }
        )
    run.metrics({f"{PREFIX}/pointing_game_chance/{row.label}": row.chance for row in table.itertuples()})
    return Pointing(table=table, map_size=int(maps.shape[-1]), tolerance=tolerance)


def _maps(classifier: Classifier, scored: Scored, rows: np.ndarray, label: int) -> np.ndarray:
    """Saliency maps float32 [n, h, w] of one label."""
    context = scored.specification.context
    starts = range(0, len(rows), BATCH_SIZE)
    parts = [
        classifier.explained(scored.stored.hu_with_context(rows[start : start + BATCH_SIZE], context))[1][
            :, label
        ]
        for start in starts
    ]
    return np.concatenate(parts)


def _has_mask(scored: Scored, rows: np.ndarray, label: str) -> np.ndarray:
    """Of which rows there is a mask to point at, bool [n]; some at a time, since masks are large."""
    starts = range(0, len(rows), BATCH_SIZE)
    parts = [masks_of(scored, rows[start : start + BATCH_SIZE], label)[1] for start in starts]
    return np.concatenate([np.zeros(0, bool), *parts])


def _counted(
    label: str, pointed: Pointed, counting: np.ndarray, patients: np.ndarray, *, num_resamples: int
) -> dict[str, object]:
    """The game on the slices [n] that count: those only shown are the surest, and would flatter.

    Its interval is over resamples of the patients [n].
    """
    hits = pointed.hits[counting]
    mean = mean_over_patients(
        hits.astype(float), patients[counting], is_share=True, num_resamples=num_resamples
    )
    return {
        "label": label,
        "slices": len(hits),
        "hits": int(hits.sum()),
        "rate": mean["value"],
        "low": mean["low"],
        "high": mean["high"],
        "patients": mean["patients"],
        "chance": float(pointed.chance[counting].mean()),
    }


def _log_figure(run: Run, scored: Scored, shown: list[_Shown], *, finds_blood: bool) -> None:
    lesions = [one.lesion for one in shown if one.lesion is not None]
    peaks = [one.peak for one in shown if one.peak is not None]
    figure = overlay_figure(
        np.stack([one.hu for one in shown]),
        np.stack([one.map for one in shown]),
        [one.caption for one in shown],
        lesions=np.stack(lesions) if lesions else None,
        peaks=np.stack(peaks) if peaks else None,
        hits=[one.hit for one in shown] if lesions else None,
        title="Where the network found blood of the label"
        if finds_blood
        else "Where the network found what speaks for the label",
        note=f"{'Lesion map' if finds_blood else 'HiResCAM'} of the surest positive slices; test split, "
        f"{data_note(scored.stored)}",
    )
    run.figure(figure, f"figures/{PREFIX}_heat_maps.png")

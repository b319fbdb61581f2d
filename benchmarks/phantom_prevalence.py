"""How often phantom slices are positive, beside RSNA 2019, and how long an exam takes on one core.

python benchmarks/phantom_prevalence.py [exams] [edition]
"""

import sys
import time

import cv2
import numpy as np
from tqdm import tqdm

from ich_mlflow.labels import SUBTYPES
from ich_mlflow.phantom.exam import ExamOptions, make_exam
from ich_mlflow.phantom.template import load_template

#: RSNA 2019 stage 2, positive slices in percent (Flanders et al. 2020).
RSNA = {
    "epidural": 0.42,
    "intraparenchymal": 4.80,
    "intraventricular": 3.48,
    "subarachnoid": 4.74,
    "subdural": 6.27,
    "any": 14.34,
    "two or more": 4.26,
}


def main() -> None:
    exams = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    edition = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    cv2.setNumThreads(1)
    load_template()
    options = ExamOptions(rows=128, edition=edition)
    numbers = tqdm(range(exams), unit="exam", leave=False)
    labels = np.concatenate([make_exam(options, number).subtypes for number in numbers])
    shares = dict(zip(SUBTYPES, labels.mean(axis=0), strict=True))
    shares["any"], shares["two or more"] = labels.any(axis=1).mean(), (labels.sum(axis=1) > 1).mean()
    print(f"{'positive slices, %':20}{'phantom':>9}{'RSNA':>7}{'ratio':>7}   ({exams} exams)")
    for name, share in shares.items():
        print(f"{name:20}{100 * share:9.2f}{RSNA[name]:7.2f}{100 * share / RSNA[name]:7.2f}")
    started, slices = time.process_time(), 0
    for number in range(5):
        slices += len(make_exam(ExamOptions(edition=edition), number).sop_uids)
    seconds = (time.process_time() - started) / slices * 26
    print(f"\nan exam of 26 slices at 512x512: {seconds:.2f} s of CPU")


if __name__ == "__main__":
    main()

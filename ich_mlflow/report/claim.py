"""The items of CLAIM, the Checklist for Artificial Intelligence in Medical Imaging, and where each is answered.

Source of the items, in our own words: Mongan, Moy and Kahn, Radiology: Artificial Intelligence 2020, 2(2), e200029.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

#: What no software can answer.
AUTHORS = "**for the authors**"


@dataclass(frozen=True)
class ClaimItem:
    """number: CLAIM's. subject: what is asked. answer: where it is answered, or what the authors have to add.

    section: the report's section that answers it, of those that not every report has.
    """

    number: int
    part: str
    subject: str
    answer: str
    section: str = ""


def claim_items(sections: Collection[str]) -> tuple[ClaimItem, ...]:
    """The items with their answers in a report of those sections: what a report lacks is not claimed of it."""
    return tuple(
        item
        if not item.section or item.section in sections
        else replace(item, answer=f"{AUTHORS}: this report has no section {item.section}")
        for item in CLAIM_ITEMS
    )


def _items(part: str, *rows: tuple[int, str, str] | tuple[int, str, str, str]) -> list[ClaimItem]:
    return [ClaimItem(row[0], part, *row[1:]) for row in rows]


CLAIM_ITEMS: tuple[ClaimItem, ...] = (
    *_items(
        "Title and abstract",
        (1, "names the AI method", "report.html, title and Model"),
        (2, "structured summary", f"{AUTHORS}; figures: report.html, first lines"),
    ),
    *_items(
        "Introduction",
        (3, "background, intended use, clinical role", f"model_card.md, Intended use; background {AUTHORS}"),
        (4, "objectives and hypotheses", AUTHORS),
    ),
    *_items(
        "Study design",
        (
            5,
            "prospective or retrospective",
            f"retrospective, on data that were there; {AUTHORS} for own data",
        ),
        (6, "goal of the study", AUTHORS),
    ),
    *_items(
        "Data",
        (7, "sources", "report.html, Data"),
        (8, "eligibility", f"quarantined files: report.html, Data; who was imaged and why: {AUTHORS}"),
        (9, "preprocessing", "docs/preprocessing.md; parameters of the preprocess run"),
        (10, "choice of subsets", "report.html, Data (splits) and Model (epidural-only slices left out)"),
        (
            11,
            "definitions of data elements",
            "docs/reference/glossary.md; docs/architecture.md, The stored set",
        ),
        (12, "de-identification", f"{AUTHORS}; the project removes nothing from files and stores no names"),
        (13, "missing data", "report.html, Data (quarantine list by reason); docs/preprocessing.md"),
    ),
    *_items(
        "Ground truth",
        (14, "definition of the reference standard", "report.html, Data (labels of slices or of studies)"),
        (15, "why that standard", AUTHORS),
        (16, "who annotated", f"{AUTHORS}: cite the data set's paper"),
        (17, "annotation tools", f"{AUTHORS}: cite the data set's paper"),
        (18, "variability of raters", f"{AUTHORS}; of CQ500 the majority of three readers is taken"),
    ),
    *_items(
        "Data partitions",
        (19, "sample size and its reason", f"counts: report.html, Data; reason {AUTHORS}"),
        (20, "how data were partitioned", "docs/preprocessing.md, Split; proportions: report.html, Data"),
        (21, "level at which partitions are disjoint", "patients, asserted at run time; report.html, Data"),
    ),
    *_items(
        "Model",
        (22, "the model in detail", "report.html, Model; the .keras file of the version; docs/training.md"),
        (23, "software", "report.html, Model (versions); requirements.txt of the version"),
        (24, "initial parameters", "report.html, Model (initial weights)"),
    ),
    *_items(
        "Training",
        (25, "training in detail", "report.html, Model; parameters and epochs of the training run"),
        (26, "choice of the final model", "report.html, Model (best epoch) and Chosen on validation"),
        (27, "ensembling", "report.html, Model (networks); docs/families.md"),
    ),
    *_items(
        "Evaluation",
        (28, "metrics", "docs/evaluation.md; report.html, Results"),
        (29, "uncertainty", "report.html, Results: 95 % intervals by resampling patients"),
        (30, "robustness", "report.html, Subgroups", "Subgroups"),
        (
            31,
            "explainability, and whether it was validated",
            "report.html, Where the network looked",
            "Where the network looked",
        ),
        (32, "external data", "report.html, Data says whether this evaluation is external"),
    ),
    *_items(
        "Results",
        (33, "flow of cases", "report.html, Data: files, quarantine, splits"),
        (34, "demographics", f"{AUTHORS}: the project reads none"),
        (35, "performance on all partitions", "validation: the training run; test: report.html, Results"),
        (36, "diagnostic accuracy with precision", "report.html, Results"),
        (37, "failure analysis", "report.html, Failures", "Failures"),
    ),
    *_items(
        "Discussion",
        (38, "limits", f"report.html, Limits; beyond them {AUTHORS}"),
        (39, "implications for practice", f"{AUTHORS}; model_card.md, Intended use: none in practice"),
    ),
    *_items(
        "Other information",
        (40, "registration", AUTHORS),
        (41, "protocol", "the command at the end of report.html, git commit and data digest"),
        (42, "funding", AUTHORS),
    ),
)

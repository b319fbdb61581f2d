"""Setting reports and model cards with Jinja templates."""

from collections.abc import Collection

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from ich_mlflow.report.claim import claim_items
from ich_mlflow.report.contents import Card, Report
from ich_mlflow.report.worklist import WorklistPage

#: What MLflow's registry keeps of a model version's description.
MAX_DESCRIPTION = 5000


def report_html(report: Report) -> str:
    """The report as one HTML file that needs nothing else: styles and pictures are inside, there is no script."""
    return _environment().get_template("report.html.j2").render(report=report)


def worklist_html(page: WorklistPage) -> str:
    """The page of a prediction as one HTML file that needs nothing else, without a script."""
    return _environment().get_template("worklist.html.j2").render(page=page)


def model_card(card: Card) -> str:
    """The model card in Markdown. Source of its parts: Mitchell et al., FAT* 2019."""
    return _environment().get_template("model_card.md.j2").render(card=card)


def claim_checklist(*, title: str, run_id: str, sections: Collection[str]) -> str:
    """The CLAIM checklist in Markdown: for each item where it is answered, or that the authors have to.

    sections: titles of the report's, by which some items are answered or not.
    """
    return (
        _environment()
        .get_template("claim_checklist.md.j2")
        .render(items=claim_items(sections), title=title, run_id=run_id)
    )


def as_description(card: str, *, run_id: str) -> str:
    """The card as a model version's description: whole paragraphs of it, 5,000 characters at most."""
    if len(card) <= MAX_DESCRIPTION:
        return card
    rest = f"\n\n(The whole card is model_card.md of run {run_id}.)\n"
    cut = card.rfind("\n\n", 0, MAX_DESCRIPTION - len(rest))
    return card[:cut] + rest


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("ich_mlflow.report"),
        autoescape=select_autoescape(enabled_extensions=("html.j2",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )

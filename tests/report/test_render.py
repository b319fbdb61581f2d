import pytest

from ich_mlflow.report.contents import Card, Picture, Report, Section, Table
from ich_mlflow.report.render import MAX_DESCRIPTION, as_description, claim_checklist, model_card, report_html

TABLE = Table(title="AUC", columns=["label", "value"], rows=[["subdural", "0.91"]], note="by patient")


def _report(**changed):
    told = {
        "title": "Evaluation",
        "subtitle": "on phantom",
        "notice": "Research software, not a medical device.",
        "headline": [("AUC", "0.91", "position alone: 0.60")],
        "sections": [Section(anchor="data", title="Data", paragraphs=["p"], tables=[TABLE])],
        "command": "mlflow run . -e evaluate",
        "made_by": "ich_mlflow",
        "limits": ["few patients"],
    }
    return report_html(Report(**(told | changed)))


def test_every_part_of_the_report_is_on_the_page():
    html = _report(
        sections=[
            Section(anchor="d", title="Data", tables=[TABLE], pictures=[Picture(title="ROC", png=b"\x89PNG")])
        ]
    )
    for said in (
        "Evaluation",
        "not a medical device",
        "0.91",
        "subdural",
        "by patient",
        "few patients",
        "evaluate",
    ):
        assert said in html
    assert '<a href="#d">' in html
    assert '<section id="d">' in html
    assert '<img alt="ROC" src="data:image/png;base64,iVBORw==">' in html


def test_what_comes_from_data_cannot_become_markup():
    html = _report(subtitle="<script>alert(1)</script>", limits=["<b>"], command="a & b")
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "&lt;b&gt;" in html
    assert "a &amp; b" in html


def test_a_folded_table_is_shown_on_demand():
    folded = Table(title="All settings", columns=["a"], rows=[["1"]], folded=True)
    html = _report(sections=[Section(anchor="m", title="Model", tables=[TABLE, folded])])
    assert html.count("<details>") == html.count("</details>") == 1
    assert "<summary>All settings</summary>" in html


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match="has 1 cells, expected 2"):
        Table(title="AUC", columns=["label", "value"], rows=[["subdural"]])


def test_the_card_has_its_parts_in_order_and_tables_of_markdown():
    card = model_card(
        Card(
            name="ich-5class",
            notice="Research software, not a medical device.",
            summary="Takes a slice.",
            answer=["It is good."],
            details=[("recipe", "demo")],
            data=["phantoms"],
            metrics=TABLE,
            operating_points=TABLE,
            subgroups=["none"],
            caveats=["few patients"],
            run_id="abc",
        )
    )
    parts = [line for line in card.splitlines() if line.startswith("#")]
    assert parts == [
        "# ich-5class",
        "## In short",
        "## Intended use",
        "## Model",
        "## Data",
        "## AUC",
        "## AUC",
        "## Caveats",
        "## Subgroups",
    ]
    assert "| label | value |\n|---|---|\n| subdural | 0.91 |\n\nby patient\n" in card
    assert "Not for diagnosis" in card


def test_a_long_card_is_cut_between_paragraphs_to_what_the_registry_holds():
    card = "\n\n".join(f"paragraph {number} " + "x" * 90 for number in range(100))
    cut = as_description(card, run_id="abc")
    assert len(cut) <= MAX_DESCRIPTION
    assert cut.endswith("(The whole card is model_card.md of run abc.)\n")
    assert card.startswith(cut.split("\n\n(The whole")[0] + "\n\n")
    assert as_description("short", run_id="abc") == "short"


def test_the_checklist_names_the_run_and_is_a_table():
    text = claim_checklist(title="Evaluation", run_id="abc", sections=["Data", "Subgroups"])
    assert "run abc" in text
    assert "| 30 | Evaluation | robustness | report.html, Subgroups |" in text
    assert (
        "| 37 | Results | failure analysis | **for the authors**: this report has no section Failures |"
        in text
    )
    assert "| 29 | Evaluation | uncertainty | report.html, Results" in text

import matplotlib as mpl
import pytest

from ich_mlflow.figures.style import (
    LABEL_COLOURS,
    LABEL_MARKERS,
    RULE_STYLES,
    darkened,
    foot_px,
    head_px,
    label_style,
    new_figure,
    wrapped,
)
from ich_mlflow.labels import SCHEMES


def test_every_label_has_its_own_colour():
    assert {*SCHEMES[6].labels, "macro", "micro"} == set(LABEL_COLOURS) == set(LABEL_MARKERS)
    assert len(set(LABEL_COLOURS.values())) == len(LABEL_COLOURS)


def test_a_name_that_is_no_label_is_a_grey_dot():
    assert label_style("female") == ("#5F5F5F", "o")


def test_rules_differ_in_marker_size_and_line():
    styles = RULE_STYLES.values()
    for aspect in ("name", "marker", "size", "line"):
        assert len({getattr(style, aspect) for style in styles}) == len(styles)


def test_darkened_colours_can_be_read_on_white_and_dark_ones_stay():
    # Black on white has the contrast 21, and #767676 is the lightest grey with 4.5.
    assert darkened("#000000") == "#000000"
    assert darkened("#767676") == "#767676"
    assert darkened("#777777") < "#767676"
    assert all(darkened(colour) <= colour.lower() for colour in LABEL_COLOURS.values())


def test_a_title_or_note_of_two_lines_gets_more_room():
    assert head_px("word " * 30) > head_px("word")
    assert foot_px("word " * 40) > foot_px("word") > foot_px("")


def test_a_figure_is_900_pixels_wide_and_says_what_it_shows():
    figure = new_figure("Counts", "phantoms, not a medical device")
    assert figure.get_size_inches()[0] * figure.dpi == pytest.approx(900)
    assert (figure.get_suptitle(), figure.get_supxlabel()) == ("Counts", "phantoms, not a medical device")


def test_a_figure_leaves_matplotlib_as_it_was():
    before = dict(mpl.rcParams)
    new_figure("Counts", "phantoms")
    assert dict(mpl.rcParams) == before


def test_a_name_slightly_too_wide_stays_whole_and_a_uid_is_broken():
    assert wrapped("intraparenchymal, subdural", 100, 8) == "intraparenchymal,\nsubdural"
    assert max(map(len, wrapped("1.2.826." * 8, 100, 8).split("\n"))) <= 15

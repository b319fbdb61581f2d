import matplotlib as mpl
import pytest

from ich_mlflow.figures.style import LABEL_COLOURS, LABEL_MARKERS, new_figure, wrapped
from ich_mlflow.labels import SCHEMES


def test_every_label_has_its_own_colour():
    assert {*SCHEMES[6].labels, "macro"} == set(LABEL_COLOURS) == set(LABEL_MARKERS)
    assert len(set(LABEL_COLOURS.values())) == len(LABEL_COLOURS)


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

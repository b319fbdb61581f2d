import numpy as np
import pytest

from ich_mlflow.figures.placement import place_text
from ich_mlflow.figures.style import new_figure


@pytest.mark.parametrize(
    ("line", "side", "above"),
    [
        ([[0, 0.1], [1, 0.1]], "left", 0.1),
        ([[0.25, 0], [0.25, 1]], "right", 0),
        ([[0, 0.02], [0.5, 0.5], [1, 0.02]], "left", 0.5),
    ],
)
def test_text_moves_away_from_what_is_drawn(line, side, above):
    axes = new_figure("Title", constrained=False, height_px=400).add_axes((0.1, 0.1, 0.3, 0.6))
    place_text(axes, "AP 0.91 (0.85 to 0.95)", [np.array(line)], sides=("left", "right"))
    (text,) = axes.texts
    assert text.get_horizontalalignment() == side
    assert above < text.get_position()[1] < 1


def test_text_stays_inside_the_panel():
    figure = new_figure("Title", constrained=False, height_px=400)
    axes = figure.add_axes((0.1, 0.1, 0.28, 0.6))
    place_text(axes, "AP 0.91 (0.85 to 0.95)\nposition 0.12", [], sides=("right",))
    figure.canvas.draw()
    panel, text = axes.get_window_extent(), axes.texts[0].get_window_extent()
    assert panel.x0 < text.x0 < text.x1 < panel.x1
    assert panel.y0 < text.y0 < text.y1 < panel.y1

import numpy as np
import pytest
from matplotlib.colors import to_hex

from ich_mlflow.figures.contact_sheet import contact_sheet
from ich_mlflow.figures.style import darkened

HU = np.full((3, 8, 8), -1000, np.int16)


def test_every_slice_has_its_place_and_caption(tmp_path):
    figure = contact_sheet(HU, ["normal", "subdural", "any"], columns=2, title="Preview", note="phantoms")
    assert [axes.texts[0].get_text() for axes in figure.axes] == ["normal", "subdural", "any"]
    first, second, third = (axes.get_position() for axes in figure.axes)
    assert first.x1 < second.x0
    assert third.y1 < first.y0
    figure.savefig(tmp_path / "sheet.png")


def test_tiles_stay_inside_the_picture():
    figure = contact_sheet(np.repeat(HU, 8, axis=0), ["subdural, intraparenchymal"] * 24)
    boxes = [axes.get_position() for axes in figure.axes]
    assert min(box.x0 for box in boxes) > 0
    assert max(box.x1 for box in boxes) < 1
    assert min(box.y0 for box in boxes) > 0
    assert max(box.y1 for box in boxes) < 1


def test_the_window_maps_air_to_black_and_bone_to_white():
    hu = np.array([[[-1000, 1000]]], np.int16)
    (axes,) = contact_sheet(hu, ["two pixels"]).axes
    assert axes.images[0].get_array().tolist() == [[0, 255]]


def test_a_long_caption_is_cut_to_four_lines():
    (axes,) = contact_sheet(HU[:1], ["one two three four " * 60]).axes
    caption = axes.texts[0].get_text()
    assert caption.count("\n") == 3
    assert caption.endswith("…")


def test_a_coloured_slice_has_a_frame_and_a_caption_in_a_darker_shade():
    figure = contact_sheet(HU[:1], ["missed"], colours=["#E69F00"])
    (axes,) = figure.axes
    assert to_hex(axes.patches[0].get_edgecolor()) == "#e69f00"
    assert not axes.patches[0].get_fill()
    assert axes.texts[0].get_color() == darkened("#E69F00") < "#e69f00"


def test_without_colours_there_are_no_frames_and_captions_are_black():
    (axes,) = contact_sheet(HU[:1], ["missed"]).axes
    assert not axes.patches
    assert axes.texts[0].get_color() == "black"


def test_a_title_of_two_lines_does_not_cover_the_first_row():
    figure = contact_sheet(HU, ["a", "b", "c"], title="a long title " * 8, note="a long note " * 30)
    figure.canvas.draw()
    title, note = figure.texts
    assert title.get_window_extent().y0 > figure.axes[0].get_window_extent().y1
    assert note.get_window_extent().y1 < figure.axes[0].texts[0].get_window_extent().y0


def test_refuses_too_few_colours():
    with pytest.raises(ValueError, match="1 colours for 3 slices"):
        contact_sheet(HU, ["a", "b", "c"], colours=["#000000"])


@pytest.mark.parametrize(
    ("hu", "captions", "columns", "message"),
    [
        (HU[0], ["a"], 8, r"shape \(8, 8\), expected \[n, H, W\]"),
        (HU[:0], [], 8, "1 to 256 slices"),
        (HU, ["a"], 8, "1 captions for 3 slices"),
        (HU, ["a", "b", "c"], 0, "columns is 0"),
    ],
)
def test_refuses_what_cannot_be_shown(hu, captions, columns, message):
    with pytest.raises(ValueError, match=message):
        contact_sheet(hu, captions, columns)

import numpy as np
import pytest

from ich_mlflow.figures.overlay import MAX_ALPHA, overlay_figure

HU = np.full((3, 8, 8), 40, np.int16)
MAPS = np.array([[[0.0, 0.0], [0.0, 5.0]], [[0.0, 0.0], [0.0, 0.0]], [[1.0, 1.0], [1.0, 1.0]]])
CAPTIONS = ["subdural", "normal", "any"]
LESIONS = np.zeros((3, 8, 8), bool)
LESIONS[0, 5:8, 5:8] = True
PEAKS = np.array([[6.0, 5.0], [np.nan, np.nan], [0.0, 0.0]])


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_each_slice_stands_beside_itself_under_its_map():
    figure = overlay_figure(HU, MAPS, CAPTIONS)
    assert [len(axes.images) for axes in figure.axes] == [1, 2] * 3
    left, right = (axes.get_position() for axes in figure.axes[:2])
    assert left.x1 < right.x0
    assert left.y0 == right.y0


def test_a_map_is_resized_linearly_and_scaled_to_its_own_maximum():
    figure = overlay_figure(HU, MAPS, CAPTIONS)
    drawn = figure.axes[1].images[1]
    # Between the centres of the two columns, at 1.5 and 5.5, the value grows by a quarter a pixel.
    assert drawn.get_array()[7].tolist() == pytest.approx([0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1])
    assert drawn.get_array().max() == 1
    assert np.allclose(figure.axes[5].images[1].get_array(), 1)


def test_low_saliency_leaves_the_slice_to_be_seen():
    drawn = overlay_figure(HU, MAPS, CAPTIONS).axes[1].images[1]
    assert drawn.get_alpha()[0, 0] == 0
    assert drawn.get_alpha().max() == MAX_ALPHA < 1


def test_a_map_of_zeros_covers_nothing():
    assert overlay_figure(HU, MAPS, CAPTIONS).axes[3].images[1].get_alpha().max() == 0


def test_the_lesion_is_outlined_and_the_peak_is_a_cross_over_the_map_alone():
    figure = overlay_figure(HU, MAPS, CAPTIONS, lesions=LESIONS, peaks=PEAKS)
    assert [len(axes.collections) for axes in figure.axes] == [0, 1, 0, 0, 0, 0]
    outline = figure.axes[1].collections[0].get_paths()[0].vertices
    assert (outline.min(), outline.max()) == (4.5, 7.5)
    # x is the column, y the row.
    assert [axes.lines[0].get_xydata().tolist() for axes in figure.axes if axes.lines] == [[[5, 6]], [[0, 0]]]


def test_marks_do_not_widen_the_picture():
    figure = overlay_figure(HU, MAPS, CAPTIONS, lesions=LESIONS, peaks=PEAKS)
    assert {axes.get_xlim() for axes in figure.axes} == {(-0.5, 7.5)}
    assert {axes.get_ylim() for axes in figure.axes} == {(7.5, -0.5)}


def test_the_caption_says_hit_or_miss_where_it_is_known():
    figure = overlay_figure(HU, MAPS, CAPTIONS, hits=[True, None, False])
    captions = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert captions == [
        "subdural\nhit: the peak is in the lesion",
        "normal",
        "any\nmiss: the peak is outside the lesion",
    ]


def test_a_caption_that_is_cut_still_says_hit_or_miss():
    figure = overlay_figure(HU[:1], MAPS[:1], ["one two three four " * 60], hits=[True])
    lines = figure.axes[1].texts[0].get_text().split("\n")
    assert len(lines) == 4
    assert lines[-1].startswith("hit")


def test_the_legend_tells_only_what_is_drawn():
    assert len(legend_of(overlay_figure(HU, MAPS, CAPTIONS))) == 1
    figure = overlay_figure(HU, MAPS, CAPTIONS, lesions=LESIONS, peaks=PEAKS)
    assert legend_of(figure)[1:] == ["lesion", "peak of the saliency"]
    assert legend_of(overlay_figure(HU, MAPS, CAPTIONS, shown="blood found")) == [
        "blood found, low to the slice's highest"
    ]
    assert len(legend_of(overlay_figure(HU, MAPS, CAPTIONS, lesions=LESIONS & False))) == 1


@pytest.mark.parametrize(("num_slices", "columns"), [(16, 2), (16, 3), (1, 4)])
def test_everything_stays_inside_the_picture(num_slices, columns, tmp_path):
    hu, maps = np.repeat(HU[:1], num_slices, axis=0), np.repeat(MAPS[:1], num_slices, axis=0)
    captions = ["subdural, intraparenchymal, intraventricular, subarachnoid"] * num_slices
    figure = overlay_figure(hu, maps, captions, columns=columns, note="phantoms")
    figure.savefig(tmp_path / "overlay.png")
    boxes = [axes.get_tightbbox() for axes in figure.axes]
    width, height = figure.get_size_inches() * figure.dpi
    assert min(min(box.x0, box.y0) for box in boxes) > 0
    assert max(box.x1 for box in boxes) < width
    assert max(box.y1 for box in boxes) < height
    assert min(box.y0 for box in boxes) > figure.legends[0].get_window_extent().y1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"hu": HU[0]}, r"shape \(8, 8\), expected \[n, H, W\] with 1 to 16"),
        ({"hu": np.repeat(HU, 6, axis=0)}, "1 to 16 slices"),
        ({"maps": MAPS[:2]}, r"expected \[3, h, w\]"),
        ({"maps": -MAPS}, "negative"),
        ({"maps": MAPS * np.nan}, "NaN"),
        ({"captions": ["a"]}, "1 captions and 3 hits for 3 slices"),
        ({"hits": [True]}, "3 captions and 1 hits"),
        ({"lesions": LESIONS[:, :4]}, r"lesions have shape \(3, 4, 8\)"),
        ({"peaks": PEAKS.T}, r"peaks have shape \(2, 3\), expected \[3, 2\]"),
        ({"columns": 0}, "columns is 0"),
    ],
)
def test_refuses_what_cannot_be_shown(changed, message):
    values = {"hu": HU, "maps": MAPS, "captions": CAPTIONS} | changed
    with pytest.raises(ValueError, match=message):
        overlay_figure(**values)

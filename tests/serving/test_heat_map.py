import base64

import cv2
import numpy as np

from ich_mlflow.serving.heat_map import heat_map_png


def _image(png):
    return cv2.imdecode(np.frombuffer(base64.b64decode(png), np.uint8), cv2.IMREAD_COLOR)


def test_colour_lies_where_the_label_is_spoken_for_and_nowhere_else():
    hu = np.full((64, 64), 40, np.int16)
    saliency = np.zeros((4, 4), np.float32)
    saliency[0, 3] = 2.0
    saliency[3, 0] = -5.0
    image = _image(heat_map_png(hu, saliency)).astype(int)
    colourfulness = image.max(axis=-1) - image.min(axis=-1)
    assert image.shape == (64, 64, 3)
    assert colourfulness[2, 61] > 60
    assert colourfulness[40:, :40].max() == 0


def test_where_nothing_speaks_for_the_label_the_slice_is_shown_alone():
    hu = np.tile(np.array([-1000, 0, 40, 80], np.int16), (4, 1))
    image = _image(heat_map_png(hu, np.full((2, 2), -1.0)))
    assert image[0, :, 0].tolist() == [0, 0, 129, 255]
    assert (image.max(axis=-1) == image.min(axis=-1)).all()

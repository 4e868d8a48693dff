"""What the pictures of notebooks 04 and 05 show."""

import numpy as np
import pandas as pd

from kdlab.papers.generative.plots import attention, timeline


def test_channels_stand_in_the_order_of_the_first_ones_means():
    lam = np.array([[0.1, 0.3], [0.9, 0.7]])
    fig = attention(np.zeros((5, 4, 4, 3), np.uint8), {"one": lam, "other": 1 - lam})
    one, other = (ax.collections[0].get_array().reshape(2, 2) for ax in fig.axes[3:5])
    assert one.tolist() == lam[::-1].tolist() and np.allclose(other, 1 - lam[::-1])


def test_each_segment_is_a_named_bar_and_the_surest_is_on_top():
    truth = pd.DataFrame({"label": [0], "start": [1.0], "end": [3.0]})
    found = pd.DataFrame({"label": [1, 0], "start": [1.0, 2.0], "end": [4.0, 3.0], "score": [0.9, 0.2]})
    (ax,) = timeline(truth, {"net": found}, ["Jump", "Walk"], 10).axes
    assert [(bar.get_x(), bar.get_width()) for bar in ax.patches] == [(1, 2), (2, 1), (1, 3)]
    assert [text.get_text() for text in ax.texts] == ["Jump", "Jump", "Walk"] and ax.get_xlim() == (0, 10)

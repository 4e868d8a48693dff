"""What a finished training leaves: nothing, where its network is no number."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from kdlab.train.loop import Diverged, Trained
from kdlab.train.writing import write_run


@pytest.mark.parametrize("broken, says", [("weights", "student.weight is no number"),
                                          ("answers", "what it says of val clips is no number")])
def test_a_network_that_is_no_number_is_not_filed(tmp_path, broken, says):
    """The loss of the last step may still be one: its gradient is not."""
    net = nn.Linear(2, 2)
    logits = torch.zeros(1, 2)
    (net.weight.data if broken == "weights" else logits).view(-1)[0] = torch.nan
    record = SimpleNamespace(id="a", group="g", label=0)
    ready = SimpleNamespace(splits=("val",), answers=lambda student, split: ([record], logits))
    trained = Trained({"student": net}, [], [], 1, 0.0, "cpu", owned=["student"])
    with pytest.raises(Diverged, match=f"{says} after the last step: lower the learning rate"):
        write_run(tmp_path, ready, trained, {}, 0.0)
    assert not list(tmp_path.iterdir())

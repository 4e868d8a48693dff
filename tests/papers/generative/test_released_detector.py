"""The released detectors: random weights under their names, naive formulas for their parts, and their command."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from kdlab.clips.untrimmed import VideoWindow
from kdlab.datasets import released as datasets
from kdlab.papers.generative import released_detector as detector
from kdlab.papers.generative.released import Released
from tests.conftest import encode, pattern
from tests.papers.generative import test_released as recognition

TOP = "coarse_pyramid_detection."
#: Name and shape of each convolution before a group norm, and of others.
NORMED = """\
pyramids.0.0.conv3d                           512   832  1 6 6
pyramids.1.0.conv3d                           512  1024  1 3 3
pyramids.2.0.conv1d                           512   512  3
pyramids.3.0.conv1d                           512   512  3
pyramids.4.0.conv1d                           512   512  3
pyramids.5.0.conv1d                           512   512  3
loc_tower.0.0.conv1d                          512   512  3
loc_tower.1.0.conv1d                          512   512  3
conf_tower.0.0.conv1d                         512   512  3
conf_tower.1.0.conv1d                         512   512  3
loc_proposal_branch.cur_point_conv.0.conv1d   512   512  1
loc_proposal_branch.lr_conv.0.conv1d         1024   512  1
loc_proposal_branch.roi_conv.0.conv1d         512   512  1
loc_proposal_branch.proposal_conv.0.conv1d    512  2048  1
conf_proposal_branch.cur_point_conv.0.conv1d  512   512  1
conf_proposal_branch.lr_conv.0.conv1d        1024   512  1
conf_proposal_branch.roi_conv.0.conv1d        512   512  1
conf_proposal_branch.proposal_conv.0.conv1d   512  2048  1
deconv.0.conv1d                               512   512  3
deconv.3.conv1d                               512   512  3
deconv.6.conv1d                               512   512  1
"""
HEADS = """\
loc_head.conv1d         2  512  3
conf_head.conv1d       21  512  3
center_head.conv1d      1  512  3
prop_loc_head.conv1d    2  512  1
prop_conf_head.conv1d  21  512  1
"""
ATTENTION = """\
deconv1.0              512  1024  1 3 3
deconv2.0              512   832  1 6 6
Att_Head_4f.0.conv1d   832   512  3
Att_Head_5c.0.conv1d  1024   512  3
"""
LINEAR = """\
Att_Head_4f.3  64   832
Att_Head_5c.3  32  1024
"""


def shapes(table, inside=""):
    """The shapes of a table, by name."""
    rows = map(str.split, table.splitlines())
    return {inside + name: tuple(map(int, shape)) for name, *shape in rows}


def state(channels=3, attention=True):
    """Random tensors under the names and in the shapes of the released detectors."""
    made = {
        k: v
        for k, v in recognition.state(1, channels).items()
        if k[:4] == "back" and recognition.LAST not in k
    }
    normed = shapes(NORMED, TOP)
    plain = shapes(HEADS, TOP)
    if attention:
        normed |= shapes(ATTENTION)
        plain |= shapes(LINEAR)
    for name, shape in (normed | plain).items():
        made |= {
            f"{name}.weight": recognition.drawn(*shape),
            f"{name}.bias": 0.1 * torch.randn(shape[0]),
        }
    for name, (width, *_) in normed.items():
        # the next of its sequence
        norm = re.sub(r"(\d)(\.conv[13]d)?$", lambda found: str(int(found[1]) + 1), name)
        made |= {
            f"{norm}.weight": torch.rand(width) + 0.5,
            f"{norm}.bias": 0.1 * torch.randn(width),
        }
    return made | {f"{TOP}loc_heads.{i}.scale": torch.tensor([1 + i / 4]) for i in range(6)}


def small(tensors):
    """The same shapes in a file of a few kilobytes: each tensor has one value."""
    return {name: tensor.flatten()[0].expand(tensor.shape) for name, tensor in tensors.items()}


def test_every_released_name_and_shape_is_loaded(tmp_path):
    file = tmp_path / "student.ckpt"
    for content, found in (
        (small(state()), (True, 21, 3, True)),
        (small(state(2, False)), (True, 21, 2, False)),
    ):
        torch.save({f"module.{name}": tensor for name, tensor in content.items()}, file)
        assert (
            (spec := Released.of(file)).detector,
            spec.classes,
            spec.channels,
            spec.attention,
        ) == found
        assert spec.make(21).state_dict().keys() == content.keys()
        assert len(content) == (462 if found[-1] else 442)


#: What the released code gave to the features below under these weights: some priors, and columns.
SOME = (0, 0, 0, 0, 70, 70, 70, 70, 125, 125, 125, 125), (0, 1, 4, 46, 0, 2, 20, 40, 1, 3, 25, 46)
GATED = "1.1124 2.2917 0.6803 0.7682 1.6617 -1.5495 -1.1551 -1.4168 33.0923 -1.3311 1.0669 -0.1806"
PLAIN = "0.6454 4.6596 -0.2771 -0.0467 2.122 -1.2049 -1.4381 -1.2987 10.3232 -0.4118 1.2455 0.2756"


@torch.no_grad()
def test_answers_are_those_of_the_released_code():
    net = Released(None, 21, 3, True, True).make(21).eval()
    net.load_state_dict(state())
    net.backbone._model = nn.Sequential()
    for name, features in (
        ("Mixed_4f", torch.rand(1, 832, 64, 6, 6)),
        ("Mixed_5c", torch.rand(1, 1024, 32, 3, 3)),
    ):
        net.backbone._model.add_module(name, stage := nn.Module())
        stage.forward = lambda _, features=features: features
    for net.gated, expected in ((True, GATED), (False, PLAIN)):
        values = [float(value) for value in expected.split()]
        found = net(torch.zeros(1, 3, 256, 96, 96))[0, *SOME].tolist()
        assert found == pytest.approx(values, rel=0.01, abs=0.01)


def test_boundary_max_pooling_is_that_of_a_loop_and_regions_are_worked_out():
    both = torch.randn(1, 6, 20)
    # some outside, some end early
    ends = torch.randint(-5, 26, (1, 4, 50)).float()
    for p, columns in enumerate(detector.boundary_max(both, ends)[0].T):
        first, last, first_too, last_too = (min(max(0, int(place)), 19) for place in ends[0, :, p])
        ranges = [slice(first, max(first, last) + 1)] * 3 + [
            slice(first_too, max(first_too, last_too) + 1)
        ] * 3
        assert columns.tolist() == [max(row[its]) for row, its in zip(both[0], ranges, strict=True)]
    # 2 to 14: by 3 inwards, 1.2 outwards
    around = detector.regions(10, torch.tensor([[[8.0], [4.0]]]), 0)[0, :, 0]
    assert around.tolist() == [1, 5, 11, 15]


def test_decoding_and_soft_nms_of_worked_examples():
    answers = torch.full((1, 126, 11), -50.0)  # two classes and the background
    # at step 56
    answers[0, 99] = torch.tensor([10, 20, 0.2, -0.4, *np.log([0.5, 0.3, 0.2, 0.1, 0.7, 0.2]), 0])
    segments, scores = detector.decoded(answers)
    # moved by 0.2 and −0.4 of 15
    assert segments[0, 99].tolist() == pytest.approx([56 - 13, 56 + 14])
    assert scores[0, 99].tolist() == pytest.approx([(0.3 + 0.7) / 4, 0.1])
    answers[0, 98], answers[0, 99, -1] = answers[0, 99], 50  # 98 is the last and less sure: dropped
    table = detector.found(
        answers, [VideoWindow("", None, -1, "test", "", video="v", seconds=60.0, first=128)], 0.5
    )
    assert table.round(4).values.tolist() == [["v", 0, 17.1, 19.8, 0.5], ["v", 1, 17.1, 19.8, 0.2]]
    three = pd.DataFrame(dict(start=[0.0, 5, 20], end=[10.0, 15, 30], score=[0.8, 0.6, 0.3]))
    # tIoU 1/3
    assert detector.soft_nms(three, 0.5)["score"].tolist() == pytest.approx(
        [0.8, 0.6 * np.exp(-2 / 9)]
    )


def answer(_net, x):
    """Class 1 from step 4 to 16, which RGB finds a step too short at both ends and flow a step too long."""
    assert x.shape[2:] == (256, 96, 96) and x[:, :, :30].any() and not x[:, :, 30:].any()
    out, reach = torch.full((1, 126, 47), -50.0), {3: 5.0, 2: 7.0}[x.shape[1]]
    out[0, 2:4, 2:4], out[0, 2:4, [5, 26]], out[0, 2:4, -1] = 0, 20, torch.tensor([20.0, 0.0])
    out[0, 2, :2], out[0, 3, :2] = reach, torch.tensor([reach + 4, reach - 4])
    return out


@pytest.mark.parametrize("real", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_command_scores_two_streams_and_says_what_it_needs(
    tmp_path, monkeypatch, command, real
):
    any_number = [
        each._replace(counts=dict.fromkeys(each.counts, {})) for each in datasets.DATA_SETS
    ]
    monkeypatch.setattr(datasets, "DATA_SETS", any_number)
    video = encode((root := tmp_path) / "test" / "v.mp4", pattern(75, 64, 48), rate=25)
    # frames at the ends of steps; frame i has the grey 5 i
    last = np.array([2, 4, 7, 9, 12, 14, 17, 19, 22, 24])
    assert np.abs(detector.rgb_steps(video)[:10, -1, 0, 0] - 5.0 * last).max() < 4
    np.save(root / "v.npy", np.full((30, 112, 112, 2), 140, np.uint8))
    (root / "Class Index_Detection.txt").write_text("".join(f"{i} A{i}\n" for i in range(20)))
    action = {"subset": "test", "annotations": [{"segment": ["0.4", "1.6"], "label": "A0"}]}
    (root / "thumos_gt.json").write_text(json.dumps({"database": {"v": action}}))
    for file, channels in ((rgb := root / "rgb.ckpt", 3), (flow := root / "flow.ckpt", 2)):
        torch.save(state(channels) if real else small(state(channels)), file)
    cases = [((rgb, root, "--with", flow, "--flow", root), r"mAP \d+\.\d\d %.* of 1 test videos")]
    if not real:
        monkeypatch.setattr(detector.ReleasedDetectorNet, "forward", answer)
        cases = [
            (cases[0][0], "mAP 100.00 %"),
            ((rgb, root, "--flow", root), "leave out --flow"),
            ((flow, root), "give --flow"),
            ((rgb, root, "--with", rgb), "cannot join"),
            ((flow, root, "--flow", root / "test"), r"missing or not uint8 \(30, 112, 112, 2"),
        ]
    for arguments, said in cases:
        _, out, error = command("released", *arguments)
        assert re.search(said, out or error), error

"""The students that GenKD's authors released: random weights under their names; what does not fit is named."""

import math

import pytest
import torch
from torch.nn import functional as F

from kdlab.papers.generative.released import Released
from tests.conftest import encode, pattern, table

UNITS = ("b0", "b1a", "b1b", "b2a", "b2b", "b3b")
#: Stage, channels in, and the channels of each of its units.
MIXED = """\
3b  192   64   96  128   16   32   32
3c  256  128  128  192   32   96   64
4b  480  192   96  208   16   48   64
4c  512  160  112  224   24   64   64
4d  512  128  128  256   24   64   64
4e  512  112  144  288   32   64   64
4f  528  256  160  320   32  128  128
5b  832  256  160  320   32  128  128
5c  832  384  192  384   48  128  128
"""
HEAD, LAST = "Att_Head_5c", "backbone._model.logits.conv3d"


def drawn(*shape):
    return torch.randn(shape) * (2 / math.prod(shape[1:])) ** 0.5


def units(channels):
    """The shapes of the backbone's convolutions, by name."""
    shapes = {
        "Conv3d_1a_7x7": (64, channels, 1, 7, 7),
        "Conv3d_2b_1x1": (64, 64, 1, 1, 1),
        "Conv3d_2c_3x3": (192, 64, 1, 3, 3),
    }
    for row in MIXED.splitlines():
        stage, *widths = row.split()
        wide, *outputs = map(int, widths)
        inputs = wide, wide, outputs[1], wide, outputs[3], wide
        for name, into, out in zip(UNITS, inputs, outputs, strict=True):
            time, side = (1 if stage < "4d" else 3, 3) if name in ("b1b", "b2b") else (1, 1)
            shapes[f"Mixed_{stage}.{name}"] = (out, into, time, side, side)
    return shapes


def state(classes, channels=3):
    """Random tensors under the names and in the shapes of the released BDNet_student."""
    torch.manual_seed(0)
    made = {}
    for name, shape in units(channels).items():
        norm = {
            "weight": torch.rand(shape[0]) + 0.5,
            "bias": 0.1 * torch.randn(shape[0]),
            "running_mean": 0.1 * torch.randn(shape[0]),
            "running_var": torch.rand(shape[0]) + 0.5,
            "num_batches_tracked": torch.tensor(5),
        }
        made[f"backbone._model.{name}.conv3d.weight"] = drawn(*shape)
        made |= {f"backbone._model.{name}.bn.{part}": value for part, value in norm.items()}
    made |= {f"{LAST}.weight": drawn(classes, 1024, 1, 1, 1), f"{LAST}.bias": torch.randn(classes)}
    assert len(made) == 344  # as many as the released test copies one by one
    shapes = {
        "deconv1.0": (512, 1024, 1, 7, 7),
        "deconv1.1": (512,),
        f"{HEAD}.0.conv1d": (1024, 512, 3),
        f"{HEAD}.1": (1024,),
        f"{HEAD}.3": (8, 1024),
    }
    weights = {
        name: drawn(*shape) if len(shape) > 1 else torch.rand(shape)
        for name, shape in shapes.items()
    }
    return made | {
        f"{name}.{part}": value
        for name, weight in weights.items()
        for part, value in (("weight", weight), ("bias", 0.1 * torch.randn(len(weight))))
    }


def by_hand(s, features, gated):
    """The released test of one clip from its features (1, 1024, 8, 7, 7): probabilities, summed over steps."""
    if gated:
        near = F.relu(
            F.group_norm(
                F.conv3d(features, s["deconv1.0.weight"], s["deconv1.0.bias"]),
                32,
                s["deconv1.1.weight"],
                s["deconv1.1.bias"],
            )
        ).squeeze(-1)
        near = F.interpolate(near, [1024, 1]).squeeze(-1)
        near = F.conv1d(
            F.pad(near, (1, 1)), s[f"{HEAD}.0.conv1d.weight"], s[f"{HEAD}.0.conv1d.bias"]
        )
        near = F.relu(F.group_norm(near, 32, s[f"{HEAD}.1.weight"], s[f"{HEAD}.1.bias"]))
        weighted = (
            features
            * torch.sigmoid(near @ s[f"{HEAD}.3.weight"].T + s[f"{HEAD}.3.bias"])[..., None, None]
        )
        features = weighted / weighted.sum() * features.sum()
    steps = F.conv3d(F.avg_pool3d(features, (2, 7, 7), 1), s[f"{LAST}.weight"], s[f"{LAST}.bias"])
    return steps.squeeze(3).squeeze(3).softmax(1).sum(2)


@torch.no_grad()
@pytest.mark.parametrize("channels", [3, 2])
def test_a_released_file_gives_the_released_prediction(tmp_path, channels):
    s, file = state(4, channels), tmp_path / "student.ckpt"
    # as torch 1.4 did
    torch.save({f"module.{k}": v for k, v in s.items()}, file, _use_new_zipfile_serialization=False)
    spec = Released.of(file)
    net = spec.make(4).eval()
    assert (spec.classes, spec.channels, spec.attention) == (4, channels, True)
    features = net.backbone._model.Mixed_5c.register_forward_hook(
        lambda _, __, out: found.append(out)
    )
    found, clip = [], torch.randn(1, channels, 64, 224, 224)
    logits = net(clip)
    features.remove()
    expected = by_hand(s, found[0], gated=channels == 3)
    assert found[0].shape == (1, 1024, 8, 7, 7)
    assert torch.allclose(7 * logits.exp(), expected, atol=1e-4)
    assert (spec.statistics[0][0], len(spec.statistics[1])) == (
        (0.485, 3) if channels == 3 else (0.5, 2)
    )


def test_what_does_not_fit_is_refused_by_name(tmp_path):
    s, file = state(4), tmp_path / "student.ckpt"
    unit = "backbone._model.Mixed_4b.b1b.conv3d.weight"
    cases = [
        (s | {unit: s[unit][..., :2]}, f"{unit} has shape"),
        ({"conv1": s[unit]}, "Conv3d_1a"),
        (s | {"coarse_pyramid_detection.x": s[unit]}, "conf_head.conv1d"),
    ]
    for content, why in cases:
        torch.save(content, file)
        with pytest.raises(ValueError, match=why):
            Released.of(file).make(4)


def test_the_command_tests_a_file_on_a_data_set(own_places, command):
    rows = ["path,label,fold,group"]
    for label in ("left", "right"):
        for fold in "12":
            encode(own_places / label / f"{fold}.mp4", pattern(66, 320, 240))
            rows.append(f"{label}/{fold}.mp4,{label},{fold},{fold}")
    table(own_places / "index.csv", *rows)
    for classes, code in ((2, 0), (3, 2)):
        torch.save(state(classes), file := own_places / "student.ckpt")
        ended, out, error = command("released", file, own_places)
        assert ended == code, error
        # one picture under two labels
        assert code or out.endswith("top-1 50.00 %, top-5 100.00 % of 2 test clips of split 1\n")
    assert "has 3 classes" in error and out == ""

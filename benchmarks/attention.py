"""Are kdlab's maps those of the package `grad-cam`? The same network, clips, labels and layer; the largest difference.

    pip install --target PEERS --no-deps grad-cam ttach scikit-learn joblib threadpoolctl narwhals cloudpickle loky \
        && PYTHONPATH=PEERS python benchmarks/attention.py

The package cannot be asked to leave a map at its layer's size, so the comparison is at the layer, before either has
stretched it: each divided by its largest value. Networks have random weights; a map does not need trained ones.
"""

import json

import numpy as np
import torch
from captum.attr import LayerGradCam
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

from kdlab import paths
from kdlab.nets.compressed import TinyCompressed
from kdlab.nets.video import TinyR2Plus1D, build
from kdlab.papers.generative.nets import Gated

NETS = {"R(2+1)D": (TinyR2Plus1D(), (16, 36, 36), "net.stages.3"),
        "GenKD's gated C3D": (Gated(), (16, 36, 36), "net.backbone.stages.3"),
        "one frame, 2-D": (TinyCompressed(), (1, 52, 65), "net.stages.3")}


class _AtTheLayer(GradCAM):
    """The peer, without its stretching."""

    def compute_cam_per_layer(self, inputs, targets, eigen_smooth):
        activations, gradients = (kept[0].cpu().data.numpy() for kept in (self.activations_and_grads.activations,
                                                                          self.activations_and_grads.gradients))
        cam = self.get_cam_image(inputs, self.target_layers[0], targets, activations, gradients, eigen_smooth)
        self.bare = np.maximum(cam, 0)
        return [self.bare[:, None]]

    def aggregate_multi_layers(self, cams):
        return cams[0]


def largest_difference(spec, shape, layer, clips: int = 8) -> float:
    """Of two maps, each divided by its largest value, over ``clips`` random clips and their labels."""
    net = build(spec, 11, 0).eval()
    module = dict(net.named_modules())[layer]
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(clips, 3, *shape, generator=generator)
    labels = torch.randint(11, (clips,), generator=generator)
    ours = LayerGradCam(net, module).attribute(x, target=labels, relu_attributions=True).detach().numpy()[:, 0]
    with _AtTheLayer(net, [module]) as peer:
        peer(x, [ClassifierOutputTarget(int(k)) for k in labels])
        theirs = peer.bare
    ours, theirs = (m.reshape(clips, -1) / np.maximum(m.reshape(clips, -1).max(1, keepdims=True), 1e-20)
                    for m in (ours, theirs))
    return float(np.abs(ours - theirs).max())


if __name__ == "__main__":
    torch.set_num_threads(1)
    found = {name: largest_difference(*how) for name, how in NETS.items()}
    for name, difference in found.items():
        print(f"{name:18} largest difference of a map in [0, 1]: {difference:.1e}")
    note = {"torch": torch.__version__, "largest_difference": found}
    (paths.project_root() / "benchmarks" / "attention.json").write_text(json.dumps(note, indent=1) + "\n")

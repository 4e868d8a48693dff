import pytest
import torch
from torch import nn

from kdlab.nets.norms import ClipNorm, PixelNorm


def with_weights(norm):
    torch.manual_seed(1)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.uniform_(-1, 1)
    return norm


def gradients(norm, x, of):
    out = norm(x)
    weighted = (out * torch.linspace(-1, 1, out.numel()).view(out.shape)).square().sum()
    return [out.detach(), *torch.autograd.grad(weighted, [*of, norm.weight, norm.bias])]


def close(ours, wanted):
    return all(
        torch.allclose(a.double(), b.double(), rtol=1e-4, atol=1e-4 * float(b.abs().max()))
        for a, b in zip(ours, wanted, strict=True)
    )


@pytest.mark.parametrize("channels", [3, 8])
@pytest.mark.parametrize("training", [True, False])
def test_clip_norm_is_instance_norm_forwards_and_backwards(channels, training):
    norm = with_weights(ClipNorm(channels)).train(training)
    plain = with_weights(nn.InstanceNorm3d(channels, affine=True)).double()
    x = (
        (2 * torch.randn(3, channels, 4, 5, 6) + 1)
        .to(memory_format=torch.channels_last_3d)
        .requires_grad_()
    )
    wide = x.detach().double().requires_grad_()
    assert close(gradients(norm, x, [x]), gradients(plain, wide, [wide]))
    with torch.no_grad():
        assert close([norm(x)], [plain(wide)])


def test_clip_norm_of_another_layout_is_the_same_and_in_evaluation_mode_has_second_derivatives():
    norm = with_weights(ClipNorm(4))
    x = torch.randn(2, 4, 3, 4, 5)
    assert torch.allclose(norm(x), norm(x.to(memory_format=torch.channels_last_3d)), atol=1e-5)
    y = x.to(memory_format=torch.channels_last_3d).requires_grad_()
    (slope,) = torch.autograd.grad(norm.eval()(y).pow(3).sum(), y, create_graph=True)
    assert torch.autograd.grad(slope.square().sum(), y)[0].abs().max() > 0


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("training", [True, False])
def test_pixel_norm_is_batch_norm_with_its_buffers(training, momentum):
    norm = with_weights(PixelNorm(3, momentum=momentum)).train(training)
    plain = with_weights(nn.BatchNorm2d(3, momentum=momentum)).train(training).double()
    for turn in range(3):
        x = (2 * torch.randn(6, 3, 5, 7) + turn).to(memory_format=torch.channels_last)
        assert close(gradients(norm, x, []), gradients(plain, x.double(), []))
    assert close(norm.buffers(), plain.buffers())
    x, wide = x.requires_grad_(), x.detach().double().requires_grad_()
    assert close(gradients(norm, x, [x]), gradients(plain, wide, [wide]))

import io
import math
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from torch import nn

from kdlab.clips.windows import Batch
from kdlab.distill.method import CrossEntropy
from kdlab.papers.dual_light.method import DualLight
from kdlab.protocols import Method
from kdlab.system.files import StorageFull
from kdlab.train.loop import fit, predict
from kdlab.train.settings import Settings, learning_rate
from tests.conftest import interrupted_at
from tests.distill.conftest import InMemory, bits, same


@dataclass
class Blobs(InMemory):
    """Two classes of noise around ±1."""

    records: range = range(48)
    dtype: torch.dtype = torch.float32

    def batch(self, indices, generator):
        labels = torch.tensor([i % 2 for i in indices])
        noise = torch.randn(len(indices), 4, generator=generator, dtype=self.dtype)
        x = noise + 2 * labels[:, None] - 1
        return Batch({"student": x, "teacher": 0.5 * x}, labels, tuple(map(str, indices)))


def make_net(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 2)
        )


SETTINGS = Settings(epochs=4, batch_size=16, lr=1e-2)


def trained(method=CrossEntropy(), settings=SETTINGS, seed=0, **how):
    return fit(method, {"student": make_net()}, Blobs(), settings, seed, **how)


def test_learning_rate_rises_then_falls_to_nothing():
    one = Settings(lr=0.1)
    cosine = Settings(lr=0.1, schedule="cosine")
    rates = [learning_rate(one, s, 100) for s in range(100)]
    assert max(rates) == pytest.approx(0.1, rel=1e-2) and rates.index(max(rates)) in (19, 20, 21)
    assert rates[0] < 0.01 and rates[-1] < 1e-3
    assert learning_rate(cosine, 0, 100) == pytest.approx(0.1)
    assert learning_rate(cosine, 50, 100) == pytest.approx(0.05)


def test_training_learns_and_says_what_it_did():
    its = trained(settings=replace(SETTINGS, epochs=30), validation=Blobs())
    assert its.steps == 90 and len(its.history) == 30 and len(its.first_losses) == 10
    assert its.history[-1]["loss_net"] < its.history[0]["loss_net"]
    assert its.history[-1]["val_accuracy"] > 80
    logits, labels, _ = predict(its.nets["student"], Blobs().evaluation(), "student")
    assert float((logits.argmax(1) == labels).float().mean()) > 0.8


def test_same_seed_same_bits_other_seed_other_bits():
    a, b, c = (trained(seed=s).nets["student"] for s in (0, 0, 1))
    assert same(a, bits(b)) and not same(a, bits(c))


def test_bits_do_not_depend_on_the_threads_of_the_caller():
    before = torch.get_num_threads()
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results.append(trained().nets["student"])
        assert torch.get_num_threads() == threads
    torch.set_num_threads(before)
    assert same(results[0], bits(results[1]))


@dataclass(frozen=True)
class TwoPasses(Method):
    """A throw-away method with two optimisers; its second loss must see what the first step changed."""

    seen: list = field(default_factory=list)

    def networks_by_optimiser(self, nets):
        return {"first": ["probe"], "second": ["student"]}

    def losses(self, nets, batch, progress):
        weight = nets["probe"].weight.detach().clone()
        loss = nets["probe"](batch.views["student"]).square().mean()
        yield "first", loss, {"probe": loss}
        self.seen.append(not torch.equal(weight, nets["probe"].weight.detach()))
        ce = nn.functional.cross_entropy(nets["student"](batch.views["student"]), batch.labels)
        yield "second", ce, {"ce": ce}


def test_a_method_of_two_optimisers_needs_no_other_loop():
    method = TwoPasses()
    nets = {"student": make_net(), "probe": nn.Linear(4, 1)}
    its = fit(method, nets, Blobs(), SETTINGS, 0)
    assert len(method.seen) == 12 and all(method.seen)
    assert its.owned == ["probe", "student"]
    assert {"loss_first", "loss_second", "probe", "ce"} <= its.history[0].keys()


def test_bf16_where_the_hardware_has_it(monkeypatch):
    """Elsewhere fp32, which is said, and gives the bits of fp32. A frozen teacher is in the student's precision."""
    monkeypatch.setenv("KDLAB_DEVICE", "cpu")
    bf16 = replace(SETTINGS, precision="bf16")
    said = []
    mixed_teacher = set()
    (nets := {"teacher": make_net(5)})["teacher"][0].register_forward_hook(
        lambda *_: mixed_teacher.add(torch.is_autocast_enabled("cpu"))
    )

    def train(settings):
        own = nets | {"student": make_net()}
        return fit(DualLight(), own, Blobs(), settings, 0, say=said.append)

    for has, same_bits in ((True, False), (False, True)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda has=has: {"avx512_bf16": has})
        plain = train(SETTINGS)
        mixed_teacher.clear()
        mixed = train(bf16)
        assert mixed_teacher == {has}
        assert mixed.precision == ("bf16" if has else "fp32") and plain.precision == "fp32"
        assert same(mixed.nets["student"], bits(plain.nets["student"])) == same_bits
    assert len(said) == 1 and said[0].startswith("this hardware has no bf16: trained in fp32")


def in_another_layout():
    """The optimiser walks weights in the order of their memory, so moments in another would be of other weights."""
    net = nn.Sequential(
        nn.Unflatten(1, (4, 1, 1)),
        nn.Upsample(4),
        nn.Conv2d(4, 3, 3),
        nn.Flatten(),
        nn.Linear(12, 2),
    ).to(memory_format=torch.channels_last)
    assert not net[2].weight.is_contiguous()
    return net


@pytest.mark.parametrize("steps", [1, 3, 7])
@pytest.mark.parametrize(
    "method, net",
    [(CrossEntropy(), make_net), (TwoPasses(), make_net), (CrossEntropy(), in_another_layout)],
)
def test_stopped_and_resumed_ends_in_the_same_bits(tmp_path, steps, method, net):
    def nets():
        torch.manual_seed(3)
        return {"student": net(), "probe": nn.Linear(4, 1)}

    whole = fit(method, nets(), Blobs(), SETTINGS, 0)
    place = tmp_path / "checkpoint.pt"
    with pytest.raises(KeyboardInterrupt):
        fit(method, nets(), Blobs(), SETTINGS, 0, checkpoint=place, progress=interrupted_at(steps))
    resumed = fit(method, nets(), Blobs(), SETTINGS, 0, checkpoint=place)
    for name in whole.owned:
        assert same(resumed.nets[name], bits(whole.nets[name]))
    assert whole.history == resumed.history and whole.first_losses == resumed.first_losses


def test_a_loss_that_is_no_number_is_named_and_the_checkpoint_survives(tmp_path, monkeypatch):
    monkeypatch.setenv("KDLAB_DEVICE", "cpu")  # a GPU is not asked at each step

    @dataclass(frozen=True)
    class Explodes(CrossEntropy):
        def losses(self, nets, batch, progress):
            for key, loss, terms in super().losses(nets, batch, progress):
                yield key, loss * (math.nan if progress.step == 7 else 1), terms

    place = tmp_path / "checkpoint.pt"
    with pytest.raises(ValueError, match=r"step 8 of 12.*Lower the learning rate"):
        trained(Explodes(), checkpoint=place)
    resumed = trained(checkpoint=place)
    assert all(torch.isfinite(v).all() for v in bits(resumed.nets["student"]).values())


def resumed_as_if_never_ended(place: Path) -> bool:
    return same(trained(checkpoint=place).nets["student"], bits(trained().nets["student"]))


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path, monkeypatch):
    place, times = tmp_path / "checkpoint.pt", []

    def full(path, content, write=Path.write_bytes):
        times.append(1)
        if len(times) == 3:
            raise OSError(28, "No space left on device")
        write(path, content)

    with (
        monkeypatch.context() as patch,
        pytest.raises(StorageFull, match="checkpoint.pt.*Free some space"),
    ):
        patch.setattr(Path, "write_bytes", full)
        trained(checkpoint=place)
    assert list(tmp_path.iterdir()) == [place] and resumed_as_if_never_ended(place)


def step_of(checkpoint: Path) -> int:
    return torch.load(io.BytesIO(checkpoint.read_bytes()[32:]), weights_only=True)["step"]


KILLED = """
import os, signal, sys
from tests.train.test_loop import *

def half(path, content, times=[], write=Path.write_bytes):
    times.append(1)
    write(path, b"half a checkpoint" if len(times) == 3 else content)
    if len(times) == 3:
        os.kill(os.getpid(), signal.SIGKILL)

Path.write_bytes = half
trained(checkpoint=Path(sys.argv[1]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is a POSIX signal")
def test_killed_while_a_checkpoint_is_written_it_goes_on_to_the_same_bits(tmp_path):
    place = tmp_path / "checkpoint.pt"
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    child = subprocess.run(
        [sys.executable, "-c", KILLED, str(place)], capture_output=True, text=True, env=env
    )
    assert child.returncode == -signal.SIGKILL, child.stderr
    assert step_of(place) == 6 and resumed_as_if_never_ended(place)

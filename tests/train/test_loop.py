import json
import math
import signal
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import nn

from kdlab.clips.views import Batch
from kdlab.distill.method import CrossEntropy
from kdlab.papers.dual_light.method import DualLight
from kdlab.system.launch import Launch
from kdlab.train import loop
from kdlab.train.feeding import in_bf16
from kdlab.train.loop import Diverged, MemoryFull, Settings, fit, learning_rate, predict


@dataclass
class Blobs:
    """Two classes of noise around ±1, in memory: all that the loop asks of clips."""

    records: list = field(default_factory=lambda: list(range(48)))
    scale: float = 1.0

    def _batch(self, indices, generator):
        labels = torch.tensor([i % 2 for i in indices])
        x = torch.randn(len(indices), 4, generator=generator) + (2 * labels[:, None] - 1) * self.scale
        return Batch({"student": x, "teacher": 0.5 * x}, labels, tuple(map(str, indices)))

    def training(self, indices, generator, part=slice(None)):
        batch = self._batch(indices, generator)
        return Batch({name: view[part] for name, view in batch.views.items()}, batch.labels[part], batch.ids[part])

    def evaluation(self):
        yield self._batch(self.records, torch.Generator().manual_seed(7))


def make_net(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 2))


def state(net):
    return {k: v.detach().cpu().clone() for k, v in net.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


SETTINGS = Settings(epochs=4, batch_size=16, lr=1e-2)


def test_learning_rate_rises_then_falls_to_nothing():
    one, cosine = Settings(lr=0.1), Settings(lr=0.1, schedule="cosine")
    rates = [learning_rate(one, s, 100) for s in range(100)]
    assert max(rates) == pytest.approx(0.1, rel=1e-2) and rates.index(max(rates)) in (19, 20, 21)
    assert rates[0] < 0.01 and rates[-1] < 1e-3
    assert learning_rate(cosine, 0, 100) == pytest.approx(0.1)
    assert learning_rate(cosine, 50, 100) == pytest.approx(0.05)


@pytest.mark.parametrize("wrong", [dict(epochs=0), dict(lr=0.0), dict(schedule="step"), dict(precision="fp16")])
def test_settings_refuse_nonsense(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong)) if "lr" not in wrong else "lr"):
        Settings(**wrong)


def test_training_learns_and_says_what_it_did():
    trained = fit(CrossEntropy(), {"student": make_net()}, Blobs(), Settings(epochs=30, batch_size=16, lr=1e-2), 0,
                  validation=Blobs())
    assert trained.steps == 90 and len(trained.history) == 30 and len(trained.first_losses) == 10
    assert trained.history[-1]["loss_net"] < trained.history[0]["loss_net"]
    assert trained.history[-1]["val_accuracy"] > 80
    logits, labels, _ = predict(trained.nets["student"], Blobs().evaluation(), "student")
    assert float((logits.argmax(1) == labels).float().mean()) > 0.8


def test_same_seed_same_bits_other_seed_other_bits():
    a, b, c = (state(fit(CrossEntropy(), {"student": make_net()}, Blobs(), SETTINGS, s).nets["student"])
               for s in (0, 0, 1))
    assert same(a, b) and not same(a, c)


def test_bits_do_not_depend_on_the_threads_of_the_caller():
    before = torch.get_num_threads()
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results.append(state(fit(CrossEntropy(), {"student": make_net()}, Blobs(), SETTINGS, 0).nets["student"]))
        assert torch.get_num_threads() == threads
    torch.set_num_threads(before)
    assert same(*results)


def test_the_teacher_does_not_move():
    teacher = make_net(5)
    before = state(teacher)
    trained = fit(DualLight(), {"student": make_net(), "teacher": teacher}, Blobs(), SETTINGS, 0)
    assert same(before, state(trained.nets["teacher"])) and not teacher.training
    assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())
    assert not same(state(make_net()), state(trained.nets["student"]))


@dataclass(frozen=True)
class TwoPasses:
    """A throw-away method with two optimisers; its second loss must see what the first step changed."""

    seen: list = field(default_factory=list)

    def parts(self, nets):
        return {"first": ["probe"], "second": ["student"]}

    def losses(self, nets, batch, progress):
        weight = nets["probe"].weight.detach().clone()
        loss = nets["probe"](batch.views["student"]).square().mean()
        yield "first", loss, {"probe": loss}
        self.seen.append(not torch.equal(weight, nets["probe"].weight.detach()))
        ce = nn.functional.cross_entropy(nets["student"](batch.views["student"]), batch.labels)
        yield "second", ce, {"ce": ce}


class Alone(TwoPasses):
    """Its second pass only."""

    def parts(self, nets):
        return {"second": ["student"]}

    def losses(self, nets, batch, progress):
        yield from (step for step in super().losses(nets, batch, progress) if step[0] == "second")


def test_a_method_of_two_optimisers_needs_no_other_loop():
    method, nets = TwoPasses(), {"student": make_net(), "probe": nn.Linear(4, 1)}
    trained = fit(method, nets, Blobs(), SETTINGS, 0)
    assert len(method.seen) == 12 and all(method.seen)
    assert trained.owned == ["probe", "student"]
    assert {"loss_first", "loss_second", "probe", "ce"} <= trained.history[0].keys()
    alone = fit(Alone(), {"student": make_net(), "probe": nn.Linear(4, 1)}, Blobs(), SETTINGS, 0)
    assert trained.first_losses[1::2] == alone.first_losses[:5] and len(trained.first_losses) == 10


def test_bf16_where_the_hardware_has_it(monkeypatch):
    """Elsewhere fp32, which is said, and gives the bits of fp32."""
    monkeypatch.setenv("KDLAB_DEVICE", "cpu")
    bf16, said = replace(SETTINGS, precision="bf16"), []
    train = lambda settings: fit(CrossEntropy(), {"student": make_net()}, Blobs(), settings, 0, say=said.append)  # noqa: E731
    for has, same_bits in ((True, False), (False, True)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda has=has: {"avx512_bf16": has})
        mixed, plain = train(bf16), train(SETTINGS)
        assert mixed.precision == ("bf16" if has else "fp32") and plain.precision == "fp32"
        assert same(state(mixed.nets["student"]), state(plain.nets["student"])) == same_bits
        net = make_net()
        assert ("forward" in vars(in_bf16(net))) == has
    assert len(said) == 1 and said[0].startswith("bf16 is not in this hardware: trained in fp32")


def test_a_checkpoint_of_one_process_is_none_of_two(tmp_path, monkeypatch):
    """Batch norm's statistics are others'."""
    place, said = tmp_path / "checkpoint", []
    loop._save_checkpoint(place, {"net.student.w": torch.ones(2)}, {"step": 1}, "same")
    assert loop._load_checkpoint(place, "same", said.append)[1] == {"step": 1} and not said
    monkeypatch.setattr(loop, "launched", lambda: Launch(0, 2))
    assert loop._load_checkpoint(place, "same", said.append) is None
    assert "counts as none" in said[0] and "1 process(es) wrote it, and 2 would go on; start 1 to go on" in said[0]


class Stop(Exception):
    pass


def stop_after(steps):
    def progress(iterable):
        for n, step in enumerate(iterable):
            if n == steps:
                raise Stop
            yield step
    return progress


@pytest.mark.parametrize("steps", [1, 3, 4, 7, 11])
@pytest.mark.parametrize("method", [CrossEntropy(), TwoPasses()])
def test_stopped_and_resumed_ends_in_the_same_bits(tmp_path, steps, method):
    def nets():
        torch.manual_seed(3)
        return {"student": make_net()} | ({"probe": nn.Linear(4, 1)} if isinstance(method, TwoPasses) else {})

    whole = fit(method, nets(), Blobs(), SETTINGS, 0)
    place = tmp_path / "checkpoint.safetensors"
    with pytest.raises(Stop):
        fit(method, nets(), Blobs(), SETTINGS, 0, checkpoint=place, progress=stop_after(steps))
    resumed = fit(method, nets(), Blobs(), SETTINGS, 0, checkpoint=place)
    for name in whole.owned:
        assert same(state(whole.nets[name]), state(resumed.nets[name]))
    assert whole.history == resumed.history and whole.first_losses == resumed.first_losses


def test_moments_of_weights_in_any_layout_are_resumed(tmp_path):
    """The optimiser walks them in the order of their memory, so moments in another would be of other weights."""
    def net():
        torch.manual_seed(3)
        small = nn.Sequential(nn.Unflatten(1, (4, 1, 1)), nn.Upsample(4), nn.Conv2d(4, 3, 3), nn.Flatten(),
                              nn.Linear(12, 2))
        return {"student": small.to(memory_format=torch.channels_last)}

    whole = fit(CrossEntropy(), net(), Blobs(), SETTINGS, 0)
    place = tmp_path / "checkpoint.safetensors"
    with pytest.raises(Stop):
        fit(CrossEntropy(), net(), Blobs(), SETTINGS, 0, checkpoint=place, progress=stop_after(4))
    resumed = fit(CrossEntropy(), net(), Blobs(), SETTINGS, 0, checkpoint=place)
    assert not whole.nets["student"][2].weight.is_contiguous()
    assert same(state(whole.nets["student"]), state(resumed.nets["student"]))


def test_a_loss_that_is_no_number_is_named_and_the_checkpoint_survives(tmp_path, monkeypatch):
    monkeypatch.setenv("KDLAB_DEVICE", "cpu")  # a GPU is not asked at each step

    @dataclass(frozen=True)
    class Explodes(CrossEntropy):
        def losses(self, nets, batch, progress):
            for key, loss, terms in super().losses(nets, batch, progress):
                yield key, loss * (math.nan if progress.step == 7 else 1), terms

    place = tmp_path / "checkpoint.safetensors"
    with pytest.raises(Diverged, match=r"step 8 of 12.*Lower the learning rate"):
        fit(Explodes(), {"student": make_net()}, Blobs(), SETTINGS, 0, checkpoint=place)
    resumed = fit(CrossEntropy(), {"student": make_net()}, Blobs(), SETTINGS, 0, checkpoint=place)
    assert all(torch.isfinite(v).all() for v in state(resumed.nets["student"]).values())


class Hungry(CrossEntropy):
    """Whose ninth loss does not fit into the memory of a device."""

    left = 8

    def losses(self, nets, batch, progress):
        self.left -= 1
        if self.left < 0:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has 1 GiB\nand more")
        return super().losses(nets, batch, progress)


def test_full_memory_is_told_in_a_sentence_and_the_training_goes_on_from_its_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setenv("KDLAB_DEVICE", "cpu")
    path = tmp_path / "c.safetensors"
    with pytest.raises(MemoryFull, match=r"^the memory of cpu is full \(CUDA out of memory\): lower batch_size \(16 "
                                         ".* last checkpoint is kept, and the same call goes on from it$"):
        fit(Hungry(), {"student": make_net()}, Blobs(), SETTINGS, 0, checkpoint=path)
    assert json.loads(safe_open(path, "pt").metadata()["note"])["step"] == 6, "two epochs of three steps"
    there = {"student": make_net()}  # with more room
    method = Hungry()
    method.left = 6
    trained = fit(method, there, Blobs(), SETTINGS, 0, checkpoint=path)
    whole = fit(CrossEntropy(), {"student": make_net()}, Blobs(), SETTINGS, 0)
    assert same(state(trained.nets["student"]), state(whole.nets["student"]))


class Wide(nn.Module):
    """Asks for so many bytes of its device and gives what it is given."""

    bytes = 0

    def forward(self, x):
        torch.empty(self.bytes, dtype=torch.uint8, device=x.device)
        return x


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_whose_memory_is_full_is_told_and_the_checkpoint_stays(tmp_path, monkeypatch):
    path, method = tmp_path / "c.safetensors", CrossEntropy()
    made = lambda: {"student": nn.Sequential(make_net(), Wide())}  # noqa: E731
    with pytest.raises(Stop):
        fit(method, made(), Blobs(), SETTINGS, 0, checkpoint=path, progress=stop_after(7))
    before = path.read_bytes()
    told = pytest.raises(MemoryFull, match=r"^the memory of cuda:0 is full .*lower batch_size")
    with monkeypatch.context() as full, told:
        full.setattr(Wide, "bytes", 2 * torch.cuda.get_device_properties(0).total_memory)
        fit(method, made(), Blobs(), SETTINGS, 0, checkpoint=path)
    assert path.read_bytes() == before
    assert fit(method, made(), Blobs(), SETTINGS, 0, checkpoint=path).steps == 12


def test_predicting_without_room_says_what_to_lower():
    class Full(nn.Linear):
        def forward(self, x):
            raise MemoryError

    with pytest.raises(MemoryFull, match=r"^the memory of cpu is full \(no more is given\): lower the window's frames"):
        predict(Full(4, 2), Blobs().evaluation(), "student")


ENDED = """
import functools, os, resource, signal, sys, torch._dynamo  # which an optimiser's first step imports, for seconds
sys.path.insert(0, {tests!r})
import kdlab.train.loop as loop
from test_loop import *
for how, sabotage in SABOTAGE.items():
    child = os.fork()
    if not child:
        exec(sabotage)
        place = Path({folder!r}) / how / "checkpoint.safetensors"
        fit(CrossEntropy(), {{"student": make_net()}}, Blobs(), SETTINGS, 0, checkpoint=place)
        os._exit(0)
    print(how, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), sep=": ", flush=True)
"""
SABOTAGE = {
    "full disk": """
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
def shrink(iterable):
    for step in iterable:
        if step == 6:  # the disk fills after the second epoch
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        yield step
fit = functools.partial(fit, progress=shrink)""",
    "inside a step": """
def step(self, *a, n=[0], original=torch.optim.AdamW.step, **k):
    n[0] += 1
    if n[0] == 8: os.kill(os.getpid(), signal.SIGKILL)
    return original(self, *a, **k)
torch.optim.AdamW.step = step""",
    "inside a checkpoint write": """
def save(flat, path, metadata, n=[0], original=loop.save_file):
    n[0] += 1
    if n[0] == 3:
        open(path, "wb").write(b"half a checkpoint")
        os.kill(os.getpid(), signal.SIGKILL)
    original(flat, path, metadata=metadata)
loop.save_file = save""",
    "between epochs": """
def save(*a, n=[0], original=loop._save_checkpoint):
    original(*a)
    n[0] += 1
    if n[0] == 2: os.kill(os.getpid(), signal.SIGKILL)
loop._save_checkpoint = save""",
}


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """Trainings that ended before their end, each in a process of its own: their folders lie in the first; how each
    ended (minus the signal); and what they said. Forked from one, which imports for all."""
    folder = tmp_path_factory.mktemp("ended")
    for how in SABOTAGE:
        (folder / how).mkdir()
    code = ENDED.format(tests=str(Path(__file__).parent), folder=str(folder))
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return folder, dict(line.split(": ") for line in child.stdout.splitlines()), child.stderr


def resumed_as_if_never_ended(place: Path) -> bool:
    whole = fit(CrossEntropy(), {"student": make_net()}, Blobs(), SETTINGS, 0)
    resumed = fit(CrossEntropy(), {"student": make_net()}, Blobs(), SETTINGS, 0, checkpoint=place)
    return same(state(whole.nets["student"]), state(resumed.nets["student"]))


@pytest.mark.skipif(sys.platform == "win32", reason="RLIMIT_FSIZE is a POSIX limit")
def test_a_full_disk_keeps_the_last_checkpoint(ended):
    folder, codes, said = ended
    place = folder / "full disk" / "checkpoint.safetensors"
    assert codes["full disk"] == "1" and "StorageFull" in said and "checkpoint.safetensors" in said
    assert "Free some space" in said and list(place.parent.iterdir()) == [place]
    assert resumed_as_if_never_ended(place)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is a POSIX signal")
@pytest.mark.parametrize("moment", [how for how in SABOTAGE if how != "full disk"])
def test_killed_and_resumed_ends_in_the_same_bits(ended, moment):
    folder, codes, said = ended
    assert codes[moment] == str(-signal.SIGKILL), said
    assert resumed_as_if_never_ended(folder / moment / "checkpoint.safetensors")


@pytest.mark.slow
def test_two_processes_under_torchrun_train_one_network(tmp_path):
    """Data-parallel training through Fabric: both ranks end with the same weights, and only one writes."""
    script = tmp_path / "ranks.py"
    script.write_text(f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_loop import *
from safetensors.torch import save_file
place = Path({str(tmp_path)!r})
trained = fit(DualLight(), {{"student": make_net(), "teacher": make_net(1)}}, Blobs(), SETTINGS, 0,
              checkpoint=place / "checkpoint.safetensors")
save_file(state(trained.nets["student"]), place / f"rank{{os.environ['RANK']}}.safetensors")
(place / f"rank{{os.environ['RANK']}}.json").write_text(json.dumps([trained.history, trained.first_losses]))
""")
    child = subprocess.run([sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
                            str(script)], capture_output=True, text=True, timeout=300)
    assert child.returncode == 0, child.stderr[-2000:]
    from safetensors.torch import load_file

    a, b = (load_file(tmp_path / f"rank{r}.safetensors") for r in (0, 1))
    assert same(a, b) and not same(a, state(make_net())), "batch statistics, too, are settled"
    told = [json.loads((tmp_path / f"rank{r}.json").read_text()) for r in (0, 1)]
    assert told[0] == told[1], "losses are the mean over the processes, not one's own half"

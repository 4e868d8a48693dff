"""Unlike networks and methods of strangers go the whole way, or are refused in one sentence before a training."""

import copy
from dataclasses import dataclass, replace
from functools import cache, cached_property

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from kdlab import protocols
from kdlab.clips.windows import Window
from kdlab.datasets.user_clips import UserClips
from kdlab.distill.method import KD, CrossEntropy
from kdlab.nets.video import TinyR2Plus1D
from kdlab.system import paths
from kdlab.train.obtain import obtain
from kdlab.train.recipe import Recipe
from kdlab.train.runs import Run
from kdlab.train.settings import AsReleased, Rule, Settings
from tests.conftest import places_in, walks
from tests.distill.conftest import kind


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A recipe on squares that walk left or right; one folder of clips, frames and rehearsals for all tests."""
    root = tmp_path_factory.mktemp("foreign")
    walks(root / "clips", train=4, val=1, test=3)
    with places_in(root):
        yield Recipe(
            "foreign",
            UserClips(str(root / "clips")),
            net=TinyR2Plus1D(widths=(4, 4)),
            window=Window(4, 16, 16),
            settings=Settings(epochs=2, batch_size=4),
        )


# --- networks ----------------------------------------------------------------------------------------------------


class Frames(nn.Module):
    """Eight features of each frame, pooled and classified; subclasses change how."""

    def __init__(self, classes):
        super().__init__()
        self.conv, self.fc = nn.Conv3d(3, 8, (1, 3, 3), (1, 2, 2)), nn.Linear(8, classes)
        self.more()

    def more(self):
        pass

    def frames(self, x):
        return self.conv(x).relu().mean((3, 4)).transpose(1, 2)  # (B, T, 8)

    def pooled(self, frames):
        return frames.mean(1)

    def forward(self, x):
        return self.fc(self.pooled(self.frames(x)))


class Recurrent(Frames):
    def more(self):
        self.rnn = nn.GRU(8, 4, batch_first=True, bidirectional=True)

    def pooled(self, frames):
        return self.rnn(frames)[0][:, -1]


class AttentionOverTheBatch(Frames):
    def more(self):
        self.layer = nn.MultiheadAttention(8, 2)

    def pooled(self, frames):
        clips = frames.mean(1)
        return clips + self.layer(clips, clips, clips)[0]


class ForgetsEvaluation(Frames):
    def pooled(self, frames):
        return F.dropout(frames.mean(1), 0.2)


class Squeezes(Frames):
    def pooled(self, frames):
        return frames.mean(1).squeeze()


class Lazy(Frames):
    def more(self):
        self.inner = nn.LazyLinear(8)

    def pooled(self, frames):
        return self.inner(frames.mean(1))


class WeightNormed(Frames):
    def more(self):
        self.conv = weight_norm(self.conv)


class SpectrallyNormed(Frames):
    def more(self):
        self.inner = spectral_norm(nn.Linear(8, 8))

    def pooled(self, frames):
        return self.inner(frames.mean(1))


class InTheFrequencyDomain(Frames):
    def more(self):
        self.filter = nn.Parameter(torch.randn(3, 8, dtype=torch.cfloat))

    def pooled(self, frames):
        return torch.fft.irfft(torch.fft.rfft(frames, dim=1) * self.filter, n=4, dim=1).mean(1)


class AverageInABuffer(Frames):
    saved = True

    def more(self):
        self.register_buffer("centre", torch.zeros(8), persistent=self.saved)

    def pooled(self, frames):
        if self.training:
            self.centre.lerp_(frames.detach().mean((0, 1)), 0.1)
        return frames.mean(1) - self.centre


class AverageThatIsNotSaved(AverageInABuffer):
    saved = False


class MovesInEvaluation(AverageInABuffer):
    def pooled(self, frames):
        self.centre += 1
        return super().pooled(frames)


class FrozenBelow(Frames):
    def more(self):
        self.conv.requires_grad_(False)
        self.norm = nn.BatchNorm1d(8).eval().requires_grad_(False)

    def pooled(self, frames):
        return self.norm(frames.mean(1))


class Compiled(Frames):
    def more(self):
        self.conv = torch.compile(self.conv, backend="eager")


class Scripted(Frames):
    def more(self):
        self.inner = torch.jit.script(nn.Sequential(nn.Linear(8, 8), nn.ReLU()))

    def pooled(self, frames):
        return self.inner(frames.mean(1))


class LateLayer(Frames):
    """Makes a layer in its first pass."""

    def pooled(self, frames):
        if not hasattr(self, "late"):
            self.late = nn.Linear(8, 8)
        return self.late(frames.mean(1))


class Both(Frames):
    def forward(self, x):
        return super().forward(x), x


class Transposed(Frames):
    def forward(self, x):
        return super().forward(x).T


class Softmax(Frames):
    def forward(self, x):
        return super().forward(x) if self.training else super().forward(x).softmax(1)


@cache
class OneForAll(Frames):
    """The same network at each call."""


class Tied(Frames):
    """A mask of −∞, a table that is no state, a shared weight, a buffer in bfloat16, an attribute called module."""

    def more(self):
        self.register_buffer("mask", torch.triu(torch.full((8, 8), -torch.inf), 1))
        self.register_buffer("table", torch.linspace(0, 1, 8), persistent=False)
        self.register_buffer("short", torch.ones(8, dtype=torch.bfloat16))
        self.module, self.twin = nn.Linear(8, 8), nn.Linear(8, 8)
        self.twin.weight = self.module.weight

    def pooled(self, frames):
        inner = self.twin(self.module(frames.mean(1) + self.table).relu())
        return (inner[:, None] + self.mask).softmax(-1).sum(1) * self.short.float()


def forgets_return(classes):
    nn.Linear(1, classes)


@dataclass(frozen=True)
class Net(protocols.Net):
    """The network is one of the classes above, by name."""

    kind: str
    head = "fc"
    stages = ()

    def make(self, num_classes: int) -> nn.Module:
        return globals()[self.kind](num_classes)


GOOD = (
    Recurrent,
    WeightNormed,
    SpectrallyNormed,
    InTheFrequencyDomain,
    AverageInABuffer,
    FrozenBelow,
    Compiled,
    Scripted,
    Tied,
)


@pytest.mark.parametrize("made", GOOD, ids=lambda made: made.__name__)
def test_an_unlike_network_goes_the_whole_way(base, made):
    recipe = replace(base, net=Net(made.__name__))
    run = obtain(recipe)
    saved = run.predictions("test")
    net = Run(run.folder).net()
    assert saved.logits.shape == (6, 2) and run.history.loss_net.notna().all()
    alone = torch.cat(
        [
            net(batch.views["student"])
            for batch in recipe.window.batches(
                recipe.data.catalogue(), "test", recipe.views()
            ).evaluation(1)
        ]
    )
    assert torch.allclose(alone, torch.from_numpy(saved.logits), rtol=0, atol=1e-5)
    if made is Tied:
        tied = net.net
        assert torch.equal(tied.module.weight, tied.twin.weight) and tied.mask.isinf().sum() == 28
        assert tied.short.dtype == torch.bfloat16


REFUSED = {
    AttentionOverTheBatch: "is another alone than beside other clips",
    ForgetsEvaluation: "changes from pass to pass",
    AverageThatIsNotSaved: "cannot be opened again: its outputs differ .* persistent buffers",
    MovesInEvaluation: "changes its buffer 'net.centre' in evaluation",
    Softmax: "gives probabilities in evaluation",
    OneForAll: "gives the same weights twice",
    Squeezes: "its answer to one clip alone has another shape",
    Lazy: "uninitialized parameter .* LazyModule",
    LateLayer: "adds 'net.late.bias' while it runs",
    Both: "gives tuple for 3 clips",
    forgets_return: r"it must return the network",
    Transposed: r"gives \(2, 3\) for 3 clips, where \(3, 2\) is wanted",
}


@pytest.mark.parametrize("kind, says", REFUSED.items(), ids=[kind.__name__ for kind in REFUSED])
def test_a_network_whose_answers_are_not_its_clips_own_is_refused(base, kind, says):
    recipe = replace(base, net=Net(kind.__name__))
    with pytest.raises(ValueError, match=f"^Net.* {says}"):
        obtain(recipe)
    # nor is it trained
    assert not (paths.runs_dir() / recipe.name).exists()


# --- methods -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class WithNets(KD):
    """KD with a further network ``head``, which ``owned`` names as trained."""

    owned: bool = True

    def head(self):
        return nn.Linear(2, 2)

    def extra_nets(self, nets, batches, seed, needed=None):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return {"head": self.head()}

    def networks_by_optimiser(self, nets):
        return {"net": ["student", "head"] if self.owned else ["student"]}

    def losses(self, nets, batch, progress):
        logits = nets["student"](batch.views["student"])
        loss = self.loss(nets, logits, self.soft_targets(nets, batch, progress), batch, progress)
        yield "net", loss, {}

    def loss(self, nets, logits, soft, batch, progress):
        return F.cross_entropy(nets["head"](logits), soft) + F.cross_entropy(logits, batch.labels)


class Temperature(nn.Module):
    def __init__(self):
        super().__init__()
        self.log = nn.Parameter(torch.zeros(()))


@dataclass(frozen=True)
class LearntTemperature(WithNets):
    def head(self):
        return Temperature()

    def loss(self, nets, logits, soft, batch, progress):
        return F.cross_entropy(logits * nets["head"].log.exp(), soft)


@dataclass(frozen=True)
class TemperatureOfPrepare(KD):
    def prepare(self, nets, batches):
        return {"log": torch.zeros((), requires_grad=True)}

    def losses(self, nets, batch, progress):
        logits = nets["student"](batch.views["student"]) * progress.prepared["log"].exp()
        yield "net", F.cross_entropy(logits, self.soft_targets(nets, batch, progress)), {}


class Bank(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("kept", torch.ones(2))


@dataclass(frozen=True)
class MemoryBank(WithNets):
    """A running mean of the teacher's answers, in a buffer that is saved with the run."""

    def head(self):
        return Bank()

    def loss(self, nets, logits, soft, batch, progress):
        nets["head"].kept.lerp_(soft.mean(0), 0.5)
        return F.cross_entropy(logits, soft * nets["head"].kept)


@dataclass(frozen=True)
class BankOutside(KD):
    """The same in a tensor of ``prepare``, which no checkpoint holds."""

    def prepare(self, nets, batches):
        return torch.ones(2)

    def losses(self, nets, batch, progress):
        soft = self.soft_targets(nets, batch, progress)
        progress.prepared.lerp_(soft.mean(0), 0.5)
        yield (
            "net",
            F.cross_entropy(nets["student"](batch.views["student"]), soft * progress.prepared),
            {},
        )


@dataclass(frozen=True)
class MeanTeacher(WithNets):
    """The head is a mean of the student's weights over steps, changed through ``data``, which torch does not count."""

    def extra_nets(self, nets, batches, seed, needed=None):
        return {"head": copy.deepcopy(nets["student"]).requires_grad_(False)}

    def loss(self, nets, logits, soft, batch, progress):
        for mean, own in zip(nets["head"].parameters(), nets["student"].parameters(), strict=True):
            mean.data.lerp_(own.detach(), 0.1)
        with torch.no_grad():
            target = nets["head"](batch.views["student"]).softmax(1)
        return F.cross_entropy(logits, target) + F.cross_entropy(logits, soft)


@dataclass(frozen=True)
class DeclaredFrozen(WithNets):
    owned: bool = False

    def head(self):
        return nn.Linear(2, 2).requires_grad_(False)


@dataclass(frozen=True)
class GradientPenalty(WithNets):
    def losses(self, nets, batch, progress):
        x = batch.views["student"].clone().requires_grad_()
        logits = nets["student"](x)
        (slope,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
        loss = self.loss(nets, logits, self.soft_targets(nets, batch, progress), batch, progress)
        yield "net", loss + slope.square().mean(), {}


@dataclass(frozen=True)
class OfACopy(KD):
    """It asks for its networks through a table of its own."""

    def losses(self, nets, batch, progress):
        return super().losses(nets | {}, batch, progress)


@dataclass(frozen=True)
class Mixup(CrossEntropy):
    def losses(self, nets, batch, progress):
        share = float(torch.rand(()))
        order = torch.randperm(len(batch.labels))
        x = batch.views["student"]
        logits = nets["student"](share * x + (1 - share) * x[order])
        ce = [F.cross_entropy(logits, labels) for labels in (batch.labels, batch.labels[order])]
        yield "net", share * ce[0] + (1 - share) * ce[1], {}


@dataclass(frozen=True)
class TeacherInTrainingAtTheEnd(KD):
    def losses(self, nets, batch, progress):
        if progress.fraction > 0.7:
            nets["teacher"].train()
        yield from super().losses(nets, batch, progress)


@dataclass(frozen=True)
class DrawnOnce(KD):
    """Its matrix is drawn at its first use, and kept in the method."""

    @cached_property
    def matrix(self):
        return torch.randn(2, 2)

    def losses(self, nets, batch, progress):
        logits = nets["student"](batch.views["student"]) + self.soft_targets(nets, batch, progress)
        yield "net", F.cross_entropy(logits @ self.matrix, batch.labels), {}


@dataclass(frozen=True)
class Yields(CrossEntropy):
    """The loss of a ``detached`` network, or with a term of a name; ``returned``, not yielded."""

    term: str = "rank"
    detached: bool = False
    returned: bool = False

    def losses(self, nets, batch, progress):
        logits = nets["student"](batch.views["student"])
        logits = logits.detach().requires_grad_() if self.detached else logits
        made = "net", F.cross_entropy(logits, batch.labels), {self.term: torch.ones(())}
        return made if self.returned else iter([made])


@dataclass(frozen=True)
class LacksAName(KD):
    """Its own table has no name `teacher`; the recipe has a teacher."""

    def losses(self, nets, batch, progress):
        yield "net", {"student": 0.0}["teacher"], {}


LEARNS = (
    LearntTemperature(),
    MemoryBank(),
    MeanTeacher(),
    DeclaredFrozen(),
    GradientPenalty(),
    OfACopy(),
    Mixup(),
)


@pytest.mark.parametrize("method", LEARNS, ids=kind)
def test_an_unlike_method_goes_the_whole_way(base, method):
    teacher = None if isinstance(method, Mixup) else replace(base, condition="teacher", seed=5)
    run = obtain(replace(base, net=Net("Frames"), method=method, teacher=teacher))
    assert run.history.loss_net.notna().all() and len(run.predictions("test").labels) == 6


@pytest.mark.parametrize(
    "method, says",
    [
        (
            WithNets(owned=False),
            "a loss has a gradient for the network 'head', which no optimiser owns",
        ),
        (
            TemperatureOfPrepare(),
            r"a gradient for a tensor of shape \(\) that is in no network, which no optimiser owns",
        ),
        (
            MeanTeacher(owned=False),
            "MeanTeacher changes the network 'head', which no optimiser owns",
        ),
        (TeacherInTrainingAtTheEnd(), "changes the network 'teacher', which no optimiser owns"),
        (BankOutside(), "ends in other weights"),
        (DrawnOnce(), "ends in other weights"),
        (Yields(detached=True), "no loss has a gradient for the network 'student'"),
        (Yields("epoch"), "losses.. has a term 'epoch', as the history has"),
        (Yields(returned=True), "losses.. must yield .optimiser, loss, terms., and not return it"),
        (CrossEntropy(), "CrossEntropy does not use the recipe's teacher"),
        (LacksAName(), "LacksAName fails .*: KeyError: 'teacher'$"),
    ],
    ids=lambda it: type(it).__name__ if not isinstance(it, str) else "",
)
def test_a_method_that_would_lose_what_it_learns_is_refused(base, method, says):
    teacher = replace(base, condition="teacher", seed=5)
    recipe = replace(
        base, method=method, teacher=teacher, settings=replace(base.settings, epochs=4)
    )
    with pytest.raises(ValueError, match=says):
        obtain(recipe)


@pytest.mark.parametrize(
    "released, says",
    [
        (
            AsReleased((("net", Rule()), ("cvae", Rule()))),
            "a rule for an optimiser 'cvae', and the method's are net",
        ),
        (
            AsReleased(shares=((r"\.head\.", 0.1),)),
            r"a share for '.*head.*', which is the first match of no weight's name",
        ),
        (
            AsReleased(shares=(("", 0.1), (r"\.fc\.", 1.0))),
            "a share for .*fc.* first match of no weight",
        ),
    ],
)
def test_a_rule_of_the_settings_that_meets_nothing_is_refused(base, released, says):
    with pytest.raises(ValueError, match=says):
        obtain(replace(base, settings=replace(base.settings, as_released=released)))


def test_a_batch_that_is_larger_than_the_set_is_told(base):
    lines = []
    obtain(replace(base, settings=Settings(epochs=1, batch_size=64)), say=lines.append)
    assert (
        sum(
            "batch_size=64 is larger than the training set: each step takes all its 8 clips" in line
            for line in lines
        )
        == 1
    )

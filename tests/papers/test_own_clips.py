"""What was chosen for `night` is not meant for clips of your own."""

from kdlab.datasets.user_clips import UserClips
from kdlab.papers.generative import recipes as generative
from kdlab.papers.progressive import recipes as progressive
from kdlab.train.settings import Settings


def test_own_clips_have_the_epochs_batches_and_rates_of_real_clips(tmp_path):
    clips = UserClips(str(tmp_path))
    made = generative.conditions(generative.DEMO, clips)
    for name in ("genkd", "student_gate", "teacher_fr"):
        assert made[name].settings == Settings(generative.DEMO.real_epochs, 8, 1.2e-2)
    assert made["gate_2x"].settings.epochs == 2 * generative.DEMO.real_epochs
    real = Settings(progressive.DEMO.real_epochs)
    assert all(r.settings == real for r in progressive.trio(progressive.DEMO, clips))
    night = progressive.trio(progressive.DEMO, progressive.night(progressive.DEMO))
    assert all(r.settings.lr == progressive.DEMO.rate != real.lr for r in night)

"""The second cell of every notebook: figure style, and one line that says what made the numbers below."""

import torch

from kdlab import __version__
from kdlab.show.plots import style
from kdlab.train.sizes import Profile, current


def opening(profile: str | None = None, data: str | None = None) -> Profile:
    """Set the style, print the provenance line, return the :class:`kdlab.train.sizes.Profile` called ``profile``."""
    style()
    chosen = current(profile)
    clips = f"your clips in {data}" if data else f"{chosen.night.name}, {chosen.night.fingerprint()[:12]}"
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU, one thread a training"
    made = f"torch {torch.__version__} · {device} · {chosen.settings.precision}"
    print(f"kdlab {__version__} · profile {chosen.name} · clips {clips} · {made}")
    return chosen

"""Do today's sources give the weights that were recorded? ``tests/witness.py`` says of what, and records anew."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ran

HERE = Path(__file__).parent
RECORDED = json.loads((HERE / "witness.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    file = tmp_path_factory.mktemp("witness") / "found.json"
    fresh = {k: v for k, v in os.environ.items() if not k.startswith(("KDLAB_", "OPENBLAS_"))}
    fresh["KDLAB_HEADLESS"] = "1"
    call = [sys.executable, "-m", "tests.witness", str(file), str(file.parent)]
    ended = ran(*call, cwd=HERE.parent, env=fresh)
    assert ended.returncode == 0, ended.stderr
    return json.loads(file.read_text("utf-8"))


@pytest.mark.slow
def test_every_recorded_training_is_still_there(found):
    assert found["rows"].keys() == RECORDED["rows"].keys()
    assert len(RECORDED["rows"]) >= 60


@pytest.mark.slow
@pytest.mark.parametrize("name", RECORDED["rows"])
def test_a_training_gives_the_weights_recorded(found, name):
    """On the same kind of CPU bit for bit. Elsewhere sums are rounded otherwise: the first four losses must agree."""
    recorded, today = RECORDED["rows"][name], found["rows"][name]
    assert np.allclose(
        today["first_losses"][:4], recorded["first_losses"][:4], rtol=2e-3, atol=2e-3
    )
    if all(found[key] == RECORDED[key] for key in ("cpu", "versions")):
        assert today["weights"] == recorded["weights"]

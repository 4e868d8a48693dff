import time

import numpy as np
import torch
from torch import nn

from kdlab.measure.cost import cpu_times, macs


def test_multiply_accumulates_of_known_layers():
    net = nn.Sequential(nn.Conv3d(3, 8, 3, padding=1), nn.Flatten(), nn.Linear(8 * 4 * 6 * 6, 5))
    assert macs(net, (2, 3, 4, 6, 6)) == 2 * (4 * 6 * 6 * 8 * 3 * 27 + 8 * 4 * 6 * 6 * 5)


def test_times_are_of_this_processor_in_turn_and_on_one_thread():
    calls = []

    def busy(seconds):
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass
        calls.append((seconds, torch.get_num_threads()))

    times = cpu_times(
        {
            "short": lambda: busy(0.002),
            "idle": lambda: time.sleep(0.01),
            "long": lambda: busy(0.006),
        },
        5,
    )
    assert [len(column) for column in times.values()] == [5, 5, 5]
    assert calls == [(0.002, 1), (0.006, 1)] * 6  # once to get warm
    assert np.median(times["idle"]) < 0.002 <= np.median(times["short"]) < np.median(times["long"])

"""Beside question 10: ten networks of each modality in a world, at equal training loss. Is the flatter one better?

    python studies/ten_networks.py 211 212    # two worlds, one after the other

Question 10 has two networks of a modality. Here five seeds have both of its rates. A row is one network.
"""

import sys
from dataclasses import replace

import pandas as pd
from flatness import networks, of_network
from worlds import FLATNESS, FOLDER

from kdlab.system.files import write_csv
from kdlab.train.device import cpu_features

#: Added to the seed of question 10's networks, which have 0.
SEEDS = range(5)


def rows(world: int):
    """A row for each network of ``world``; without measures where one never comes to the loss."""
    for name, recipe in networks(FLATNESS, world).items():
        for seed in SEEDS:
            measured = of_network(replace(recipe, seed=recipe.seed + seed)) or {}
            about = {"world": world, "network": name, "seed": seed, "cpu": cpu_features()}
            yield about | measured


if __name__ == "__main__":
    for world in map(int, sys.argv[1:]):
        table = pd.DataFrame(rows(world))
        write_csv(FOLDER / f"ten_networks-{world}.csv.gz", table, compression="gzip")

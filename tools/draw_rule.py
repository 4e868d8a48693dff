"""Draw the rule of the map from its committed half, figures/map_drawn.csv, and freeze it in figures/map_rule.json.

`.venv/bin/python tools/draw_rule.py`, before the other half is run. Then `kdlab claims --register map_held`, and commit
both files.
"""

from kdlab.studies.map_rule import freeze


def main() -> None:
    made = freeze()
    print(f"{made.digest[:16]}: {made.rule}")


if __name__ == "__main__":
    main()

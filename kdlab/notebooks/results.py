"""What a notebook returns to whoever ran it: named values, in an output of their own beside those for the reader."""

import math

#: The type of such an output; its data is a JSON object.
MIME = "application/vnd.kdlab.results+json"


def keep(**values) -> None:
    """Return these numbers and texts from a notebook, so that ``kdlab run NN -p seed 0,1,2`` lays them side by side.

    A reader sees them as a line below the cell. A number that is not finite is kept as nothing. Raises ``ValueError``
    for a value that is neither a number nor a text.
    """
    from IPython.display import display

    plain = {name: _plain(name, value) for name, value in values.items()}
    shown = ", ".join(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
                      for name, value in plain.items())
    display({MIME: plain, "text/plain": f"kept: {shown}"}, raw=True)


def kept(page) -> dict[str, object]:
    """What the cells of an executed notebook (nbformat's) returned; of two values of one name the later."""
    found = {}
    for cell in page.cells:
        for output in cell.get("outputs", ()):
            found |= output.get("data", {}).get(MIME, {})
    return found


def _plain(name: str, value: object) -> float | int | str | bool | None:
    value = value.item() if hasattr(value, "item") else value  # numpy's and torch's numbers
    if not isinstance(value, float | int | str):
        raise ValueError(f"keep({name}=…) takes a number or a text, got {type(value).__name__}: give one number of it, "
                         "such as its mean")
    return None if isinstance(value, float) and not math.isfinite(value) else value

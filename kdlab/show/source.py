"""A method's code shown from kdlab itself, highlighted, so that it exists once."""

import inspect

from IPython.display import Code


def source(thing) -> Code:
    """The source of a function, class or module of kdlab as a notebook display."""
    return Code(inspect.getsource(thing), language="python")

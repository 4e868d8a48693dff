"""A method's code shown from kdlab itself, highlighted, so that it exists once."""

import inspect

__all__ = ["source"]


def source(thing):
    """The source of a function, class or module of kdlab as a notebook display."""
    from IPython.display import Code

    return Code(inspect.getsource(thing), language="python")

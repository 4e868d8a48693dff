import matplotlib.pyplot as plt
import pytest
from matplotlib.text import Text


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


def words(fig) -> str:
    """All texts that a picture shows, a line each."""
    fig.canvas.draw()
    return "\n".join(text.get_text() for text in fig.findobj(Text) if text.get_visible())

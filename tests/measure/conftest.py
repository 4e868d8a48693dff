import pytest

from kdlab.nets.layers import one_thread


@pytest.fixture
def single_thread():
    with one_thread():
        yield

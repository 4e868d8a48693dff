"""Inputs that hypothesis makes up: whatever bytes, tables and numbers come, an answer or one sentence comes back."""

import csv
import json

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kdlab.clips.records import CatalogueError
from kdlab.datasets.released import open_data
from kdlab.train.recipe import from_json
from kdlab.video import headers

FEW = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
CELL = st.one_of(
    st.sampled_from(
        ["", "Run", "Sit", "a.mp4", "b.mp4", "../a.mp4", "train", "test", "1e999", "nan"]
    ),
    st.text(max_size=6),
)


@FEW
@given(st.binary(max_size=40), st.integers(0, 4))
@example(b"\1", 0)
@example(b"\1\0\0\0\3\xe1\0", 4)
def test_headers_of_h264_are_read_or_refused(data, length):
    for read in (
        lambda: headers.head_units(data),
        lambda: headers.h264_kind(headers.units(data, length)),
        lambda: headers.mpeg4_kinds(data),
        lambda: headers.not_coded(data, data),
    ):
        try:
            read()
        except (headers.Fault, headers.CutOff) as error:
            assert str(error) or isinstance(error, headers.CutOff)


@FEW
@given(
    st.permutations(["path", "label", "split", "group", "start", "end"]),
    st.integers(2, 6),
    st.lists(st.lists(CELL, min_size=6, max_size=6), max_size=5),
)
def test_a_table_of_clips_is_read_or_refused_in_one_sentence(tmp_path, columns, width, rows):
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).touch()
    with (tmp_path / "index.csv").open("w", newline="", encoding="utf-8", errors="replace") as file:
        csv.writer(file).writerows([columns[:width], *(row[:width] for row in rows)])
    try:
        assert open_data(tmp_path).records
    except (CatalogueError, FileNotFoundError) as error:
        assert str(tmp_path) in str(error)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "tuple", "path", "condition", "x"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@FEW
@given(JSON)
@example({"type": "os:system"})
@example({"type": "kdlab.train.recipe:Recipe"})
def test_a_recipe_of_any_json_is_built_or_refused(value):
    """Nothing but frozen dataclasses of imported modules is made of a note's words."""
    try:
        built = from_json(json.loads(json.dumps(value)))
    except (ValueError, TypeError) as error:
        assert str(error)
    else:
        assert built is None or isinstance(built, (bool, float, int, str, list, tuple, dict))

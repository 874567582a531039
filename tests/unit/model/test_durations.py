from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.airstack.backbone.plugins.module_utils._model import durations


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1s", 1), ("90s", 90), ("30m", 1800), ("8h", 28800), ("1d", 86400), ("1h30m", 5400), ("365d", durations.LONGEST)],
)
def test_a_duration_is_read_as_seconds(text: str, seconds: int) -> None:
    assert durations.parse(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "0s", "8", "h", "-1h", "1.5h", "8 h", "366d", "99999999999s", "30m1h", "٣h", "8h\n"]
)
def test_anything_else_is_no_duration(text: str) -> None:
    assert durations.parse(text) is None


@given(st.integers(1, durations.LONGEST))
def test_what_is_spelt_is_read_back(seconds: int) -> None:
    assert durations.parse(durations.spell(seconds)) == seconds


@given(st.text())
def test_no_text_breaks_the_parser(text: str) -> None:
    assert durations.parse(text) is None or durations.parse(text) > 0

"""Tests that send signals and set limits that only POSIX systems have are left out on Windows."""

import os

import pytest

POSIX_TESTS = ["test_faults.py", "test_damage.py", "test_hostile.py", "test_hostile_text.py"]
collect_ignore = POSIX_TESTS if os.name == "nt" else []

if os.name != "nt":
    from tests.helpers.faults import end_children

    @pytest.fixture(autouse=True)
    def no_child_is_left():
        yield
        end_children()

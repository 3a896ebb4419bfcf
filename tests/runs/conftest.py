"""Tests that send signals and set limits that only POSIX systems have are left out on Windows."""

import os

POSIX_TESTS = ["test_faults.py", "test_damage.py", "test_hostile.py", "test_hostile_text.py"]
collect_ignore = POSIX_TESTS if os.name == "nt" else []

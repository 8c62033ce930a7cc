import os
import unittest

import pytest


@pytest.mark.usefixtures("health")
class TestCallbacks(unittest.TestCase):
    def test_caller_stays_out(self):
        """Nothing that steers a run comes from the caller: no variable, no file in HOME."""
        poison = ("AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "PYTEST_ADDOPTS", "SAM_CLI_POLL_DELAY", "CI")
        self.assertEqual([name for name in poison if name in os.environ], [])
        self.assertEqual(os.listdir(os.environ["HOME"]), [])

    def test_parts(self):
        for part in range(3):
            with self.subTest(part=part):
                self.assertLess(part, 3)

import os
import time
import unittest

from .conftest import answer, start

POISON = "AWS_SECRET_ACCESS_KEY GITHUB_TOKEN PYTEST_ADDOPTS SAM_CLI_POLL_DELAY CI DOCKER_CONFIG"
GIVEN = {
    "SAM_CLI_CONTAINER_CONNECTION_TIMEOUT": "60",
    "SAM_SKIP_PULL_IMAGE": "1",
}


class TestCallbacks(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # It stays, as those of sam-cli's start-lambda tests do.
        cls.emulator = start()
        answer()

    def test_caller_stays_out(self):
        """No variable that steers a run comes from the caller, and no file in HOME."""
        self.assertEqual(
            [name for name in POISON.split() if name in os.environ], []
        )
        self.assertEqual(os.listdir(os.environ["HOME"]), [])
        self.assertEqual({name: os.environ.get(name) for name in GIVEN}, GIVEN)

    def test_parts(self):
        for part in range(3):
            with self.subTest(part=part):
                self.assertLess(part, 3)

    def test_stops_soon(self):
        """The emulator ignores SIGTERM, as the first process of a container does."""
        began = time.monotonic()
        self.emulator.stop(timeout=60)
        self.emulator.start()
        self.assertLess(time.monotonic() - began, 30)

"""Leaves its emulator running, as sam-cli's start-lambda tests do, and attaches to one of its name."""

import unittest

import docker
from docker.errors import NotFound

from .conftest import NAME, PORT, answer, first_time, start


class TestLeavesRunning(unittest.TestCase):
    def test_answers_on_its_port(self):
        try:
            docker.from_env().containers.get(NAME)
        except NotFound:
            start()
        self.assertEqual(answer(f"http://localhost:{PORT}"), "ok\n")
        first = first_time("left-running")
        with self.subTest("fails the first time"):
            self.assertFalse(first)

"""Leaves its emulator running, as sam-cli's start-lambda tests do, and attaches to one of its name."""

import os
import time
import unittest
import urllib.request
from pathlib import Path

import docker
from docker.errors import NotFound

from .conftest import image, start

SEEN = Path("left-running")


class TestLeavesRunning(unittest.TestCase):
    def test_answers_on_its_port(self):
        client, port = docker.from_env(), int(os.environ["DURABLE_EXECUTIONS_EMULATOR_PORT"])
        try:
            client.containers.get(os.environ["DURABLE_EXECUTIONS_CONTAINER_NAME"])
        except NotFound:
            start(client, image(), os.environ["DURABLE_EXECUTIONS_CONTAINER_NAME"], port)
        deadline = time.monotonic() + 60
        while True:
            try:
                answer = urllib.request.urlopen(f"http://localhost:{port}/health", timeout=10).read()
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        self.assertEqual(answer, b"ok\n")
        first = not SEEN.exists()
        SEEN.touch()
        with self.subTest("fails the first time"):
            self.assertFalse(first)

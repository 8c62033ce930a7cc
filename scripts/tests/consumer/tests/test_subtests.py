import unittest

import pytest

from .conftest import first_time


@pytest.mark.usefixtures("health")
class TestHistory(unittest.TestCase):
    def test_one_event_differs(self):
        for event in range(3):
            with self.subTest(event=event):
                self.assertNotEqual(event, 1)

    def test_one_event_differs_once(self):
        first = first_time("differs")
        for event in range(3):
            with self.subTest(event=event):
                self.assertFalse(first and event == 1)

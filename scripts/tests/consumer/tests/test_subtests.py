import unittest
from pathlib import Path

SEEN = Path("seen")


class TestHistory(unittest.TestCase):
    def test_one_event_differs(self):
        for event in range(3):
            with self.subTest(event=event):
                self.assertNotEqual(event, 1)

    def test_one_event_differs_once(self):
        first = not SEEN.exists()
        SEEN.touch()
        for event in range(3):
            with self.subTest(event=event):
                self.assertFalse(first and event == 1)

import re

from .conftest import APP, error, sam, start, until


def test_steps():
    (APP / "event.json").write_text('{"numbers": [1, 2, 3]}')
    assert '{"total": 6}' in sam("invoke", "Adds", "--event", "event.json")


def test_callback():
    invoke, log = start("invoke", "Asks", "--no-event")
    until(lambda: "asked: " in log.read_text() or invoke.poll() is not None)
    assert invoke.poll() is None, error(log.read_text())
    (callback,) = re.findall(r"asked: (\S+)", log.read_text())
    sam("callback", "succeed", callback, "--result", "yes")
    assert invoke.wait(300) == 0
    assert '{"answer": "yes"}' in log.read_text()

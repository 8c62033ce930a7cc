"""`sam local invoke` waits for the end of an execution."""

import re
import subprocess

from .conftest import complaint, until


def test_steps(sam, project):
    (project / "event.json").write_text('{"numbers": [1, 2, 3]}')
    said = sam("local", "invoke", "Adds", "--event", "event.json")
    assert re.search(r"Status: +SUCCEEDED", said)
    assert '{"total": 6}' in said


def test_callback(sam, project):
    log = project / "invoke.log"
    with log.open("w") as output:
        command = ["sam", "local", "invoke", "Asks", "--no-event"]
        invoke = subprocess.Popen(command, cwd=project, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        asked = until(lambda: re.search(r"asked: (\S+)", log.read_text()) or invoke.poll() is not None)
        assert asked is not True, f"sam local invoke: {complaint(log.read_text())}"
        sam("local", "callback", "succeed", asked[1], "--result", "yes")
        assert invoke.wait(300) == 0, f"sam local invoke: {complaint(log.read_text())}"
    finally:
        invoke.kill()
        print(log.read_text())
    assert '{"answer": "yes"}' in log.read_text()

"""Requests and errors in what an emulator's container printed."""

from pathlib import Path

import pytest

from gate.suite import http_log
from gate.verdict.model import Request, TestResult

ARN = "arn%3Aaws%3Alambda%3Aus-east-1%3A1%3Afunction%3Ax"
UUID = "0f8fad5b-d9cb-469f-a165-70867728950e"


def log(tmp_path: Path, *lines: str) -> http_log.HttpLog:
    """Return a log whose lines come at second 1, 2, 3, …"""
    stamped = (f"1970-01-01T00:00:{number:02d}.123456789Z {line}" for number, line in enumerate(lines, 1))
    (tmp_path / "emulator.log").write_text("".join(f"{line}\n" for line in stamped))
    return http_log.read(tmp_path / "emulator.log")


def answered(request: str, status: int) -> str:
    return f'127.0.0.1 - - [25/Nov/2026 00:00:00] "{request} HTTP/1.1" {status} -'


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/health", "/health"),
        (
            f"/2025-12-01/durable-executions/{UUID}%2F{UUID}/history?x=1",
            "/2025-12-01/durable-executions/{}/history",
        ),
        (f"/2025-12-01/functions/{ARN}/invocations", "/2025-12-01/functions/{}/invocations"),
        (f"/a/{UUID}/b", "/a/{}/b"),
        ("/a/17/b", "/a/{}/b"),
        (
            "/2025-12-01/durable-execution-callbacks/eyJhIjoxLCJiIjoyMzQ1fQ=x9/succeed",
            "/2025-12-01/durable-execution-callbacks/{}/succeed",
        ),
        ("/send-durable-execution-callback-success", "/send-durable-execution-callback-success"),
    ],
)
def test_ids_in_a_path_are_replaced(path: str, route: str) -> None:
    assert http_log.route(path) == route


def test_each_test_gets_the_requests_between_its_begin_and_end(tmp_path: Path) -> None:
    found = log(
        tmp_path,
        answered("GET /health", 200),
        answered(f"GET /e/{UUID}", 404),
        answered("GET /e/2", 404),
        answered("GET /e/3", 200),
        answered("POST /e/4", 500),
    )
    test = TestResult("a.py::t", "failed", began=2.0, ended=5.0)
    found.attach(test)
    assert test.requests == [
        Request("GET", "/e/{}", 404, 2, f"/e/{UUID}"),
        Request("GET", "/e/{}", 200, 1, "/e/3"),
    ]


def test_what_the_emulator_asks_others_for_is_not_its_answer(tmp_path: Path) -> None:
    found = log(tmp_path, 'DEBUG http://127.0.0.1:3001 "POST /2015-03-31/functions/x/invocations HTTP/1.1" 200 12')
    assert found.requests == []


def test_the_last_line_of_a_traceback_is_the_error(tmp_path: Path) -> None:
    found = log(
        tmp_path,
        "Traceback (most recent call last):",
        '  File "/app/emulator/handlers.py", line 12, in handle',
        "    return f()",
        '  File "/app/emulator/model.py", line 1315, in f',
        "    self.value",
        f"AttributeError: no {UUID}",
        "not part of it",
    )
    assert [error for _, error in found.errors] == ["AttributeError: no {} (model.py:1315)"]
    failed = TestResult("a.py::t", "failed", began=6.0, ended=7.0)
    passed = TestResult("a.py::u", "passed", began=1.0, ended=2.0)
    assert list(found.errors_during([failed])) == ["AttributeError: no {} (model.py:1315)"]
    assert list(found.errors_during([passed])) == []


def test_a_request_of_another_thread_amid_a_traceback_is_neither_its_end_nor_lost(tmp_path: Path) -> None:
    begin = ("Traceback (most recent call last):", '  File "/app/model.py", line 7, in f')
    found = log(tmp_path, *begin, answered("GET /e/1", 200), "    f()", "KeyError: 'x'")
    assert [error for _, error in found.errors] == ["KeyError: 'x' (model.py:7)"]
    assert [(route, status) for _, _, route, _, status in found.requests] == [("/e/{}", 200)]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\0\n",
        b"GET /x 200\n",
        b'yesterday "GET /x HTTP/1.1" 200 -\n',
        b'1970-01-01T00:00:01Z {"path": "/x", "status": 200}\n',
        b'1970-01-01T00:00:01Z "GET /x HTTP/1.1" 2000 -\n',
        b"1970-01-01T00:00:01Z\n",
    ],
)
def test_an_emulator_that_logs_otherwise_gives_no_requests(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "log").write_bytes(content)
    found = http_log.read(tmp_path / "log")
    assert (found.requests, found.errors) == ([], [])


def test_no_log(tmp_path: Path) -> None:
    assert http_log.read(tmp_path / "none").requests == []

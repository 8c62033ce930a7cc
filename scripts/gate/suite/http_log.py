"""What an emulator answered and which errors it logged, parsed from its container's log."""

import datetime
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gate.verdict.model import Request, TestResult

# Common Log Format, from the request line on. A client in the emulator (urllib3) logs alike, with a URL before it.
ANSWERED = re.compile(r'(?<!\S)"(?P<method>[A-Z]+) (?P<path>\S+) HTTP/[0-9.]+" (?P<status>[0-9]{3}) (?:-|[0-9]+)(?!\S)')
BY_A_CLIENT = re.compile(r'https?://\S+ "[A-Z]+ ')
UUID = "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
# One UUID or two joined by an escaped slash, a number, an ARN, a token.
ID = re.compile(rf"{UUID}|[0-9]+|.*%(?:2F|3A).*|(?=\S*[0-9])[\w=.%~-]{{24,}}", re.IGNORECASE)
PLACE = re.compile(r'\s+File "(?P<file>[^"]+)", line (?P<line>[0-9]+)')


@dataclass
class HttpLog:
    """Requests and errors of one container log, each with the engine's time in seconds since 1970.

    A request is method, route, path and status.
    """

    requests: list[tuple[float, str, str, str, int]] = field(default_factory=list)
    errors: list[tuple[float, str]] = field(default_factory=list)

    def attach(self, test: TestResult) -> None:
        """Give a test the requests that were answered between its begin and its end."""
        counts: Counter[tuple[str, str, int]] = Counter()
        examples: dict[tuple[str, str, int], str] = {}
        for at, method, route, path, status in self.requests:
            if test.began <= at <= test.ended:
                counts[method, route, status] += 1
                examples.setdefault((method, route, status), path)
        test.requests = [Request(*key, count, examples[key]) for key, count in counts.items()]

    def errors_during(self, tests: Iterable[TestResult]) -> Iterator[str]:
        """Yield the errors logged while one of the tests ran: after a test, its data folder is gone."""
        spans = [(test.began, test.ended) for test in tests]
        return (error for at, error in self.errors if any(began <= at <= ended for began, ended in spans))


def read(log: Path) -> HttpLog:
    """Return what a container log holds; nothing of a log that is missing or of another format."""
    found, place, in_traceback = HttpLog(), "", False
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return found
    for line in lines:
        stamp, _, text = line.partition(" ")
        if (at := _seconds(stamp)) is None:
            continue
        if (match := ANSWERED.search(text)) and not BY_A_CLIENT.search(text):  # also amid another thread's traceback
            found.requests.append((at, match["method"], route(match["path"]), match["path"], int(match["status"])))
        elif text.startswith("Traceback (most recent call last)"):
            in_traceback, place = True, ""
        elif in_traceback and (match := PLACE.match(text)):
            place = f"{Path(match['file']).name}:{match['line']}"
        elif in_traceback and text and not text[0].isspace():
            in_traceback = False
            found.errors.append((at, f"{re.sub(UUID, '{}', text)} ({place})"))
    return found


def route(path: str) -> str:
    """Return a path without its query, ids replaced by {}."""
    return "/".join("{}" if ID.fullmatch(part) else part for part in path.partition("?")[0].split("/"))


def _seconds(stamp: str) -> float | None:
    """Return the engine's timestamp (RFC 3339 with nanoseconds) in seconds since 1970, None if it is not one."""
    try:
        return datetime.datetime.fromisoformat(re.sub(r"(\.[0-9]{6})[0-9]*", r"\1", stamp)).timestamp()
    except ValueError:
        return None

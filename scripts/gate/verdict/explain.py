"""Why a run failed: what the emulator answered otherwise, what it logged, which package differs, tests by cause.

Nothing is escaped here; `report` does that.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from gate.containers.images import Image
from gate.verdict.model import Difference, Run, TestResult

UUID = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
REGRESSION = (
    "a regression passes with the published image; pre-existing fails with it too; unknown could not be compared"
)


@dataclass
class Cause:
    """Failed tests with one cause. `title` says what it is, `messages` are the distinct ones of its tests."""

    title: str
    tests: list[TestResult] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    @property
    def attribution(self) -> str:
        """The tests' attribution, in the plural where it takes one; "failed" where they were not compared."""
        words = sorted({test.attribution or "failed" for test in self.tests})
        return " or ".join(f"{word}s" if word == "regression" and len(self.tests) > 1 else word for word in words)


def causes(run: Run) -> list[Cause]:
    """Return the failed tests grouped by the first answer that differs, else by message; the largest group first."""
    found: dict[str, Cause] = {}
    for test in run.failed:
        first = next((each for each in run.differences if test.id in each.tests), None)
        message = UUID.sub("{}", " ".join(test.message.split())) or "no message"
        title = answers(first) if first else message
        cause = found.setdefault(title, Cause(title))
        cause.tests.append(test)
        if first and message not in cause.messages:
            cause.messages.append(message)
    return sorted(found.values(), key=lambda cause: -len(cause.tests))


def contract(run: Run) -> Iterator[str]:
    """Yield one line for each answer that differs from the published image's, then for each error of the emulator's own
    in failing tests."""
    for each in run.differences[:5]:
        number = len(each.tests)
        asked = f", such as {each.example[:160]}" if each.example else ""
        yield f"{answers(each)} ({number} test{'s' if number > 1 else ''}{asked})"
    for error, number in list(run.errors.items())[:5]:
        yield f"the emulator logged {number} time{'s' if number > 1 else ''}: {error[:300]}"


def answers(each: Difference) -> str:
    """Return a difference as one phrase."""
    with_candidate, with_baseline = (" or ".join(map(str, codes)) for codes in (each.candidate, each.baseline))
    asked = f"{each.method} {each.route}"
    if not each.candidate:
        return f"{asked}: not requested with the candidate, {with_baseline} with the published image"
    return f"{asked}: {with_candidate} with the candidate, {with_baseline or 'not requested'} with the published image"


def packages(image: Image) -> str:
    """Return the durable packages inside an image with their versions."""
    return ", ".join(f"{name} {version}" for name, version in image.packages.items())


def moved_packages(candidate: Image, baseline: Image) -> str:
    """Return the packages whose version differs from the published image's, "" if none does or nothing is known.

    The emulator's own package, whose version is the image's, is not among them.
    """
    published = baseline.packages
    return "; ".join(
        f"{name} {version}, published {published[name]}"
        for name, version in candidate.packages.items()
        if published.get(name, version) != version and version != candidate.version
    )

"""Why a run failed, in words: differences, the emulator's errors, packages, causes; and where the time went."""

import pytest

from gate.containers.images import Image
from gate.verdict import explain, gantt
from gate.verdict.model import Difference, Run, TestResult

UUIDS = ("0f8fad5b-d9cb-469f-a165-70867728950e", "1f8fad5b-d9cb-469f-a165-70867728950e")
GONE = Difference("GET", "/e/{}/history", [404], [200], ["t::0", "t::1", "t::2"], "/e/1/history")
SLOW = Difference("POST", "/e/{}", [500, 503], [201], ["t::2", "t::3"])


def run(*messages: str, differences: list[Difference] | None = None, **values: object) -> Run:
    tests = [TestResult(f"t::{number}", "failed", message=message) for number, message in enumerate(messages)]
    return Run("develop", "c", "1", tests=tests, differences=differences or [], **values)  # type: ignore[arg-type]


def image(**packages: str) -> Image:
    return Image("sha256:1", "sha256:1", "r:t", "linux/amd64", packages=packages)


def test_tests_with_one_cause_are_one_group_the_largest_first() -> None:
    causes = explain.causes(run("1 != 0", f"no {UUIDS[0]}", "2 != 0", f"no {UUIDS[1]}", f"no\n{UUIDS[1]}"))
    assert [(cause.title, len(cause.tests)) for cause in causes] == [("no {}", 3), ("1 != 0", 1), ("2 != 0", 1)]


def test_an_answer_that_differs_is_the_cause_and_the_messages_are_its_effects() -> None:
    causes = explain.causes(run("a", "b", "a", "c", "c", differences=[GONE, SLOW]))
    assert [(cause.title, [test.id for test in cause.tests], cause.messages) for cause in causes] == [
        (
            "GET /e/{}/history: 404 with the candidate, 200 with the published image",
            ["t::0", "t::1", "t::2"],
            ["a", "b"],
        ),
        ("POST /e/{}: 500 or 503 with the candidate, 201 with the published image", ["t::3"], ["c"]),
        ("c", ["t::4"], []),
    ]


def test_a_test_without_a_message() -> None:
    assert [cause.title for cause in explain.causes(run(" "))] == ["no message"]


@pytest.mark.parametrize(
    ("attributions", "says"),
    [
        (["regression"], "regression"),
        (["regression", "regression"], "regressions"),
        (["pre-existing", "regression"], "pre-existing or regressions"),
        (["", ""], "failed"),
    ],
)
def test_attribution_of_a_cause(attributions: list[str], says: str) -> None:
    found = run(*["x"] * len(attributions))
    for test, attribution in zip(found.tests, attributions, strict=True):
        test.attribution = attribution
    assert explain.causes(found)[0].attribution == says


def test_the_contracts_difference_stands_once_before_the_emulators_errors() -> None:
    found = run("x", differences=[GONE, SLOW], errors={"ValueError: no (a.py:1)": 945, "KeyError (b.py:2)": 1})
    assert list(explain.contract(found)) == [
        "GET /e/{}/history: 404 with the candidate, 200 with the published image (3 tests, such as /e/1/history)",
        "POST /e/{}: 500 or 503 with the candidate, 201 with the published image (2 tests)",
        "the emulator logged 945 times: ValueError: no (a.py:1)",
        "the emulator logged 1 time: KeyError (b.py:2)",
    ]


@pytest.mark.parametrize(
    ("candidate", "baseline", "says"),
    [
        ([], [200], "GET /x: not requested with the candidate, 200 with the published image"),
        ([404], [], "GET /x: 404 with the candidate, not requested with the published image"),
    ],
)
def test_a_route_that_one_of_them_was_not_asked_for(candidate: list[int], baseline: list[int], says: str) -> None:
    assert explain.answers(Difference("GET", "/x", candidate, baseline, ["t::0"])) == says


def test_packages() -> None:
    candidate, published = image(sdk="3.0.0", emulator="1.2.1", new="1"), image(sdk="1.7.0", emulator="1.2.1")
    assert explain.packages(candidate) == "sdk 3.0.0, emulator 1.2.1, new 1"
    assert explain.moved_packages(candidate, published) == "sdk 3.0.0, published 1.7.0"
    assert explain.moved_packages(candidate, image()) == ""
    assert explain.packages(image()) == ""


def test_where_the_time_went() -> None:
    tests = [
        TestResult("a.py::T::test_p[x::section y;:1]", "failed", shard="a-1", began=100.0, ended=101.5),
        TestResult("a.py::T::test_q", "passed", shard="a-1", began=101.5, ended=102.0),
        TestResult("a.py::T::test_r", "skipped", shard="b-2"),
    ]
    lines = list(gantt.markdown([Run("develop", "c", "1", tests=tests)]))
    assert lines[lines.index("gantt") + 3 :] == [
        "    section a-1",
        "    test_p x section y 1 :crit, 0, 1500",
        "    test_q :1500, 2000",
        "```",
        "",
        "</details>",
    ]


def test_no_chart_without_times_and_none_too_long_for_github() -> None:
    assert list(gantt.markdown([run("x")])) == []
    many = [TestResult(f"a.py::t{n}", "passed", shard="a", began=1.0 + n, ended=2.0 + n) for n in range(1000)]
    assert len(list(gantt.markdown([Run("develop", "c", "1", tests=many)]))) < gantt.MOST + 20

"""Which of SAMCLI_TESTS an aws-sam-cli has."""

from pathlib import Path

DURABLE = "tests/integration/**/test_*durable*.py"


def select(checkout: Path, tests: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Return the entries of SAMCLI_TESTS that name a file of the checkout, and a problem for each of the others.

    A link out of the checkout is not a file of it; a second name of a file is a problem.
    """
    present, problems = [], []
    named: dict[Path, str] = {}
    for test in tests:
        path = test.partition("::")[0]
        file = (checkout / path).resolve()
        if not file.is_file() or not file.is_relative_to(checkout.resolve()):
            problems.append(f"{path} does not exist in this aws-sam-cli: was it moved?")
        elif named.setdefault(file, path) != path:
            problems.append(f"{path} and {named[file]} in SAMCLI_TESTS are the same file: name it once")
        else:
            present.append(test)
    return present, problems


def uncovered(checkout: Path, tests: tuple[str, ...]) -> list[str]:
    """Return the durable test files of the checkout that SAMCLI_TESTS leaves out."""
    durable = {str(path.relative_to(checkout)) for path in checkout.glob(DURABLE)}
    return sorted(durable - {test.partition("::")[0] for test in tests})

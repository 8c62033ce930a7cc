"""The settings: three layers, misspelt names, and a .env that belongs to other programs too."""

import codecs
import re
import shutil
from datetime import date
from pathlib import Path

import pytest

from gate import settings, workspace
from gate.programs import GateError
from gate.settings import load

SECRET = "hunter2"


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone of which only the settings matter."""
    shutil.copy(workspace.ROOT / ".env.example", tmp_path)
    monkeypatch.setattr(settings, "ROOT", tmp_path)
    for name in settings.TYPE_BY_NAME:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def refused(root: Path, env: str) -> str:
    """Return the error that a .env leads to."""
    (root / ".env").write_text(env)
    with pytest.raises(GateError) as error:
        load()
    return str(error.value)


def test_every_setting_has_a_default_and_a_line_of_why(root: Path) -> None:
    text = (root / ".env.example").read_text()
    assert set(re.findall(r"^# .+\n([A-Z_]+)=", text, re.MULTILINE)) == set(
        settings.TYPE_BY_NAME
    )


def test_later_layers_win(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = "SAMCLI_REFS='v1.160.0 latest:3'\nEMULATOR_VERSION=${HOME}\nCOMPAT_JOBS=3 # mine\n"
    (root / ".env").write_text(ours)
    monkeypatch.setenv("COMPAT_JOBS", " 5\n")
    monkeypatch.setenv("EMULATOR_PREBUILD", "")
    found = load()
    assert (found.samcli_refs, found.emulator_version) == (
        ["v1.160.0", "latest:3"],
        "${HOME}",
    )
    assert (
        found.compat_jobs,
        found.compat_min_passed,
        found.emulator_prebuild,
    ) == (5, 36, "")


def test_a_word_that_stands_twice_counts_once(root: Path) -> None:
    twice = "PUBLISH_PLATFORMS=linux/arm64 linux/amd64 linux/arm64\n"
    (root / ".env").write_text(f"{twice}SAMCLI_TESTS=a.py ./a.py\n")
    assert load().publish_platforms == ["linux/arm64", "linux/amd64"]
    assert load().samcli_tests == ["a.py"]


def test_what_is_committed_is_neither_env_nor_the_environment(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / ".env").write_text("COMPAT_MIN_PASSED=1\n")
    monkeypatch.setenv("SAMCLI_REFS", "mine")
    committed = settings.load_committed()
    assert (committed.compat_min_passed, committed.samcli_refs) == (
        36,
        ["develop"],
    )


def test_a_path_begins_at_the_gates_folder_or_at_a_users_home(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert settings.path_of("../sdk") == root / "../sdk"
    assert settings.path_of("/sdk") == Path("/sdk")
    assert settings.path_of("~/sdk") == Path("/home/me/sdk")
    of_no_user = "~no-such-user/sdk"
    assert settings.path_of(of_no_user) == root / of_no_user


@pytest.mark.parametrize(
    "name", ["SAMCLI_REF", "SAMCLI_BRANCH", "GATED_PATH", "COMPAT_ZZZZZZ"]
)
def test_an_unknown_name_of_ours_is_an_error(
    root: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    assert refused(root, f"{name}={SECRET}\n").startswith(
        f"unknown setting {name} in .env"
    )
    (root / ".env").unlink()
    monkeypatch.setenv(name, SECRET)
    with pytest.raises(
        GateError, match=f"^unknown setting {name} in the environment"
    ):
        load()


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("SAMCLI_REFSX", "SAMCLI_REFS"),
        ("EMULATOR_SOURCEX", "EMULATOR_SOURCE"),
        ("COMPAT_RERUN_COUNT", "COMPAT_RERUNS"),
    ],
)
def test_a_misspelt_name_is_answered_with_the_nearest_one(
    root: Path, name: str, nearest: str
) -> None:
    wrong = refused(root, f"{name}=x\n")
    assert wrong == f"unknown setting {name} in .env: did you mean {nearest}?"


@pytest.mark.parametrize(
    "line",
    [
        f"DB_PASSWORD: {SECRET}",
        f"set -a\nexport TOKEN='{SECRET}'\nset +a",
        f"PUBLISH_TOKEN={SECRET}",
        f"EMULATOR_PORT={SECRET}",
        f"KEY=-----BEGIN {SECRET}\n{SECRET}/a+b==\nPUBLISH{SECRET}=\n-----END KEY-----",
        f"QUOTED='{SECRET}",
    ],
    ids=[
        "yaml",
        "shell",
        "PUBLISH_",
        "EMULATOR_",
        "a key on several lines",
        "a quote left open",
    ],
)
def test_a_line_of_another_program_is_no_error_and_is_never_printed(
    root: Path,
    line: str,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    text = f"COMPAT_RERUNS=3\n{line} # é\nSAMCLI_REFS=mine\n"
    (root / ".env").write_bytes(codecs.BOM_UTF8 + text.encode("latin-1"))
    assert (load().compat_reruns, load().samcli_refs) == (3, ["mine"])
    assert SECRET not in "".join(capfd.readouterr()) + caplog.text
    assert refused(root, f"{line}\nCOMPAT_RERUNS=x\n").startswith(
        "COMPAT_RERUNS=x: "
    )


@pytest.mark.parametrize(
    "tag", ["latest", "Latest", "stable", "v1", "V1.2.1-arm64", "1.2.1"]
)
def test_the_candidates_tag_is_never_one_that_could_be_published(
    root: Path, tag: str
) -> None:
    assert refused(root, f"EMULATOR_TAG={tag}\n").startswith(
        f"EMULATOR_TAG={tag} could be"
    )


@pytest.mark.parametrize(
    "glob",
    [
        "/src/**",
        "src/*.{py,toml}",
        ":!docs/**",
        "!docs/**",
        "./src/**",
        "../src/**",
        "src//**",
        "src/**,",
        r"src\**",
    ],
)
def test_a_glob_that_guards_nothing_is_an_error(root: Path, glob: str) -> None:
    assert refused(root, f"GATED_PATHS=src/** {glob}\n").startswith(
        f"GATED_PATHS: {glob} would"
    )


def test_refs_may_be_compared_ones_only_and_not_missing(root: Path) -> None:
    (root / ".env").write_text("SAMCLI_REFS=\nSAMCLI_COMPARED_REFS=develop\n")
    assert (load().samcli_refs, load().samcli_compared_refs) == (
        [],
        ["develop"],
    )
    assert "SAMCLI_REFS and SAMCLI_COMPARED_REFS are both empty" in refused(
        root, "SAMCLI_REFS=\n"
    )


@pytest.mark.parametrize(
    "line",
    [
        "SAMCLI_REFS: my-branch",
        "SAMCLI_REFS",
        "export SAMCLI_REFS",
        "  SAMCLI_REFS = 'my-branch",
        'SAMCLI_REFS="my-branch',
    ],
    ids=["yaml", "no =", "export, no =", "open quote", "open double quote"],
)
def test_a_line_that_begins_with_a_setting_and_cannot_be_read_is_named(
    root: Path, line: str
) -> None:
    """Otherwise the default would be tested instead."""
    error = "SAMCLI_REFS cannot be read: write SAMCLI_REFS=VALUE"
    above = f"# mine\nTOKEN: {SECRET}\n"
    assert refused(root, f"{above}{line}\n") == f".env, line 3: {error}"
    # As Windows' editors begin a file.
    assert refused(root, f"\ufeff{line}\n") == f".env, line 1: {error}"


def test_a_setting_inside_of_another_programs_open_quote_is_named(
    root: Path,
) -> None:
    assert refused(root, 'TOKEN="abc\n\nSAMCLI_REFS=mine\nOTHER="x"\n') == (
        ".env, line 3: SAMCLI_REFS cannot be read: write SAMCLI_REFS=VALUE"
    )


def test_a_setting_below_empty_lines_and_values_of_several_lines_is_read(
    root: Path,
) -> None:
    text = 'TOKEN="a\nb"\r\n\n \n\x85\n  export SAMCLI_REFS="mine\nyours"\n'
    (root / ".env").write_text(text, newline="")
    assert load().samcli_refs == ["mine", "yours"]


def test_a_value_in_quotes_may_have_several_lines(root: Path) -> None:
    tests = "SAMCLI_TESTS='tests/a.py\n  tests/b.py'\n"
    (root / ".env").write_text(f"{tests}SAMCLI_REFS=mine\n")
    found = load()
    assert found.samcli_tests == ["tests/a.py", "tests/b.py"]
    assert found.samcli_refs == ["mine"]


NUMBERS = ["COMPAT_MIN_PASSED", "COMPAT_RERUNS", "COMPAT_TIMEOUT"]
SWITCHES = ["COMPAT_SAVE_IMAGE", "PUBLISH_LATEST", "PUBLISH_DRY_RUN"]


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", ["", "many", "-1", "1.5", "9" * 10])
def test_a_number_is_a_number(root: Path, name: str, value: str) -> None:
    error = f"{name}={value}: must be a number"
    assert refused(root, f"{name}={value}\n") == error


def test_only_the_number_of_shards_may_be_empty(root: Path) -> None:
    (root / ".env").write_text("COMPAT_JOBS=\n")
    assert load().compat_jobs is None


@pytest.mark.parametrize("name", SWITCHES)
@pytest.mark.parametrize("value", ["", "2", "true"])
def test_a_switch_is_0_or_1(root: Path, name: str, value: str) -> None:
    assert (
        refused(root, f"{name}={value}\n") == f"{name}={value}: must be 0 or 1"
    )


@pytest.mark.parametrize("name", settings.NEVER_EMPTY)
def test_a_setting_without_which_nothing_runs_is_not_empty(
    root: Path, name: str
) -> None:
    assert refused(root, f"{name}=\n") == f"{name} is empty: see .env.example"


def test_a_path_of_samcli_tests_may_be_written_in_each_usual_way(
    root: Path,
) -> None:
    ways = "./tests/x.py tests//x.py tests/x.py tests/./x.py::T::test_a[./b//c]"
    (root / ".env").write_text(f"SAMCLI_TESTS='{ways}'\n")
    assert load().samcli_tests == [
        "tests/x.py",
        "tests/x.py::T::test_a[./b//c]",
    ]


@pytest.mark.parametrize(
    "entry",
    [
        "tests/x.py::test_a",
        "tests/x.py@2026-12-01",
        "tests/x.py::test_a@soon",
        "tests/x.py::test_a@2026-13-01",
        "tests/x.py::test_a@2026-2-1",
    ],
    ids=["no day", "a file", "no date", "no such month", "short"],
)
def test_a_known_failure_is_a_test_and_a_day(root: Path, entry: str) -> None:
    assert refused(root, f"SAMCLI_KNOWN_FAILURES={entry}\n") == (
        f"SAMCLI_KNOWN_FAILURES: {entry} cannot be read: "
        "write path::Class::test@YYYY-MM-DD, the last day on which it is set aside"
    )


def test_known_failures_are_read(root: Path) -> None:
    entry = "./tests/x.py::T::test_a[me@home]@2026-12-01"
    (root / ".env").write_text(f"SAMCLI_KNOWN_FAILURES={entry}\n")
    (found,) = load().samcli_known_failures
    assert settings.known_failure(found) == (
        "tests/x.py::T::test_a[me@home]",
        date(2026, 12, 1),
    )


@pytest.mark.parametrize(("event", "kept"), [("release", 0), ("schedule", 1)])
def test_a_release_sets_no_test_aside(
    root: Path, monkeypatch: pytest.MonkeyPatch, event: str, kept: int
) -> None:
    monkeypatch.setenv("GITHUB_EVENT_NAME", event)
    (root / ".env").write_text(
        "SAMCLI_KNOWN_FAILURES=a.py::T::test@2099-12-31\n"
    )
    assert len(load().samcli_known_failures) == kept


@pytest.mark.parametrize(
    ("env", "error"),
    [
        ("COMPAT_SDK=mine", "COMPAT_SDK=mine: must be released or source"),
        ("COMPAT_SDK=", "COMPAT_SDK is empty: see .env.example"),
        (
            "COMPAT_SDK=source",
            "COMPAT_SDK=source needs SDK_SOURCE, the folder of that package",
        ),
        (
            "EMULATOR_REPOSITORY=repo/emulator:latest",
            "EMULATOR_REPOSITORY=repo/emulator:latest: must be an image's name, in lower case "
            "and without a tag",
        ),
        (
            "PUBLISH_REPOSITORY=https://host/emulator",
            "PUBLISH_REPOSITORY=https://host/emulator: must be an image's name, in lower case "
            "and without a tag",
        ),
        ("COMPAT_TIMEOUT=0", "COMPAT_TIMEOUT=0: must be above 0"),
        ("COMPAT_JOBS=00", "COMPAT_JOBS=00: must be above 0"),
        (
            "SAMCLI_TESTS=../aws-sam-cli/tests/x.py",
            "the test ../aws-sam-cli/tests/x.py must have a path from the top of aws-sam-cli",
        ),
        (
            "SAMCLI_TESTS=/src/tests/x.py::T",
            "the test /src/tests/x.py::T must have a path from the top of aws-sam-cli",
        ),
        (
            "SAMCLI_TESTS=a.py \\\n  b.py",
            ".env, line 1: SAMCLI_TESTS ends with \\: write it in one line, or in quotes",
        ),
        (
            "samcli_refs=mine",
            "unknown setting samcli_refs in .env: did you mean SAMCLI_REFS?",
        ),
        (
            "S\0A\0",
            ".env is UTF-16: save it as UTF-8",
        ),
        (
            "EMULATOR_TAG=repo/emulator:pr-1",
            "EMULATOR_TAG=repo/emulator:pr-1: must be a tag, without the image's name",
        ),
        (
            "COMPAT_BASELINE=repo/emulator",
            "COMPAT_BASELINE=repo/emulator: must be a tag, without the image's name",
        ),
        (
            "EMULATOR_IMAGE=published\nCOMPAT_BASELINE=",
            "EMULATOR_IMAGE=published needs COMPAT_BASELINE, the tag of that image",
        ),
        (
            "PUBLISH_PLATFORMS=linux/s390x",
            "PUBLISH_PLATFORMS: linux/s390x is not one of linux/amd64, linux/arm64",
        ),
    ],
)
def test_a_value_that_nothing_knows_is_an_error(
    root: Path, env: str, error: str
) -> None:
    assert refused(root, f"{env}\n") == error


def test_the_sdk_of_a_commit_is_that_of_a_folder(root: Path) -> None:
    (root / ".env").write_text("COMPAT_SDK=source\nSDK_SOURCE=sdk\n")
    assert load().compat_sdk == "source"

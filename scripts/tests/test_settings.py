"""The settings: three layers, each value checked, each error one line that names setting, value and layer."""

import re
from pathlib import Path

import pytest

from gate import settings, workspace
from gate.cli import GateError
from gate.settings import load


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone of which only the settings matter."""
    (tmp_path / ".env.example").write_text((workspace.ROOT / ".env.example").read_text())
    monkeypatch.setattr(settings, "ROOT", tmp_path)
    return tmp_path


def test_every_setting_has_a_default_and_a_reason(root: Path) -> None:
    for name in settings.KNOWN:
        assert re.search(rf"^# .+\n{name}=", (root / ".env.example").read_text(), re.MULTILINE), name


def test_defaults_are_those_of_the_real_parts() -> None:
    found = load({})
    assert found.emulator_repository == "public.ecr.aws/durable-functions/aws-durable-execution-emulator"
    assert (found.samcli_refs, found.samcli_compared_refs) == (("develop",), ())
    assert len(found.samcli_tests) == 4
    assert (found.compat_min_passed, found.compat_reruns, found.compat_timeout) == (35, 1, 1800)
    assert found.compat_jobs is None
    assert (found.publish_latest, found.publish_older, found.publish_dry_run) == (True, False, False)


def test_later_layers_win(root: Path) -> None:
    (root / ".env").write_text("SAMCLI_REFS='v1.160.0 latest'\nCOMPAT_JOBS=3\nCOMPAT_RERUNS=2\n")
    found = load({"COMPAT_JOBS": "5", "EMULATOR_PREBUILD": ""})
    assert found.samcli_refs == ("v1.160.0", "latest")
    assert (found.compat_jobs, found.compat_reruns, found.emulator_prebuild) == (5, 2, "")


def test_what_is_committed_is_neither_env_nor_environment(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / ".env").write_text("COMPAT_MIN_PASSED=1\n")
    monkeypatch.setenv("SAMCLI_REFS", "mine")
    committed = settings.load_committed()
    assert (committed.compat_min_passed, committed.samcli_refs) == (35, ("develop",))


@pytest.mark.parametrize("value", ["echo $HOME ${X}", "echo it's", "echo a#b", "echo 'a # b'", 'echo "é" && x'])
def test_values_are_taken_as_written(root: Path, value: str) -> None:
    assert load({"EMULATOR_PREBUILD": value}).emulator_prebuild == value
    quoted = f'"{value}"' if " #" in value else value
    (root / ".env").write_text(f"EMULATOR_PREBUILD={quoted}\n")
    assert load({}).emulator_prebuild == value


def test_a_file_with_a_byte_order_mark_and_windows_line_ends(root: Path) -> None:
    (root / ".env").write_bytes("\ufeffCOMPAT_JOBS=3\r\nCOMPAT_RERUNS=2\r\n".encode())
    assert (load({}).compat_jobs, load({}).compat_reruns) == (3, 2)


def test_paths_are_what_pytest_calls_them() -> None:
    tests = load({"SAMCLI_TESTS": "./a/test_x.py a//test_x.py a/./test_x.py::T::t[b//c]"}).samcli_tests
    assert tests == ("a/test_x.py", "a/test_x.py::T::t[b//c]")


def test_a_path_is_the_users_or_below_the_gates_folder(root: Path) -> None:
    assert settings.local("~/x") == Path.home() / "x"
    assert settings.local("../x") == root / "../x"
    assert settings.local("~no-such-user/x") == root / "~no-such-user/x"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SAMCLI_REFS", "b" * 235),
        ("SAMCLI_REFS", "feature/é@2 latest:3"),
        ("SAMCLI_TESTS", "tests/test_a.py::TestX::test_y[a-b]"),
        ("EMULATOR_IMAGE", "registry.example:5000/a/b:v1.2@sha256:" + "0" * 64),
        ("EMULATOR_IMAGE", "0123456789ab"),
        ("EMULATOR_IMAGE", "../My Images/candidate.tar"),
        ("EMULATOR_TAG", "pr-1"),
        ("EMULATOR_TAG", "12ab"),
        ("COMPAT_JOBS", "64"),
        ("COMPAT_RERUNS", "0"),
        ("PUBLISH_LATEST", ""),
    ],
)
def test_a_good_value(name: str, value: str) -> None:
    load({name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("COMPAT_JOBS", "many"),
        ("COMPAT_JOBS", "0"),
        ("COMPAT_JOBS", "65"),
        ("COMPAT_JOBS", "999999999"),
        ("COMPAT_JOBS", "9" * 5000),
        ("COMPAT_MIN_PASSED", "0"),
        ("COMPAT_MIN_PASSED", "-1"),
        ("COMPAT_MIN_PASSED", ""),
        ("COMPAT_RERUNS", "1.5"),
        ("COMPAT_RERUNS", "10"),
        ("COMPAT_TIMEOUT", "٣"),
        ("COMPAT_BASELINE", "a:b"),
        ("COMPAT_SAVE_IMAGE", "yes"),
        ("SAMCLI_REFS", " "),
        ("SAMCLI_REFS", "--upload-pack=x"),
        ("SAMCLI_REFS", "latest:0"),
        ("SAMCLI_REFS", "latest:100"),
        ("SAMCLI_REFS", "a~1"),
        ("SAMCLI_COMPARED_REFS", "a:b"),
        ("SAMCLI_TESTS", "/etc/test_x.py"),
        ("SAMCLI_TESTS", "../test_x.py"),
        ("SAMCLI_TESTS", "tests/"),
        ("SAMCLI_TESTS", "-p"),
        ("SAMCLI_PYTHON", "python"),
        ("SAMCLI_PYTHON", ""),
        ("SAMCLI_SOURCE", ""),
        ("EMULATOR_SOURCE", ""),
        ("EMULATOR_REPOSITORY", ""),
        ("EMULATOR_REPOSITORY", "Upper/case"),
        ("EMULATOR_REPOSITORY", "emulator:latest"),
        ("EMULATOR_REPOSITORY", "--help"),
        ("EMULATOR_REPOSITORY", "a//b"),
        ("EMULATOR_REPOSITORY", "a..b"),
        ("EMULATOR_IMAGE", "a b"),
        ("EMULATOR_IMAGE", "--help"),
        ("EMULATOR_IMAGE", "Upper:case"),
        ("EMULATOR_TAG", "a/b"),
        ("EMULATOR_TAG", "latest"),
        ("EMULATOR_TAG", "Latest"),
        ("EMULATOR_TAG", "latest-x86_64"),
        ("EMULATOR_TAG", "stable"),
        ("EMULATOR_TAG", "v1"),
        ("EMULATOR_TAG", "V1.2.1-arm64"),
        ("EMULATOR_TAG", "1.2.1"),
        ("EMULATOR_TAG", "1"),
        ("EMULATOR_TAG", "t" * 129),
        ("EMULATOR_VERSION", "1 2"),
        ("PUBLISH_PLATFORMS", "linux/386"),
        ("PUBLISH_PLATFORMS", ""),
        ("PUBLISH_REPOSITORY", "a:b"),
        ("GATED_PATHS", ""),
        ("GATED_PATHS", "/src/**"),
        ("GATED_PATHS", "src/** ../other/**"),
        ("GATED_PATHS", "src/*.{py,toml}"),
        ("GATED_PATHS", ":!docs/**"),
        ("GATED_PATHS", "!docs/**"),
    ],
)
@pytest.mark.parametrize("layer", [".env", "the environment"])
def test_a_malformed_value_names_setting_value_and_layer(root: Path, name: str, value: str, layer: str) -> None:
    if layer == ".env":
        (root / ".env").write_text(f"{name}='{value}'\n")
    with pytest.raises(GateError, match=re.escape(f"{name}={value!r} (from {layer}): ")) as error:
        load({} if layer == ".env" else {name: value})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", ["echo \udcff", "echo \0"], ids=["not UTF-8", "NUL"])
def test_a_value_that_no_program_can_be_given(value: str) -> None:
    """Of the environment's bytes that are not UTF-8 Python makes lone surrogates."""
    with pytest.raises(GateError, match=r"^EMULATOR_PREBUILD=.* must be UTF-8 text"):
        load({"EMULATOR_PREBUILD": value})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("COMPAT_RERUNS=2\nCOMPAT_MIN_PASSED: 99\n", ".env, line 2 is not NAME=value: COMPAT_MIN_PASSED: 99"),
        ("\n\nCOMPAT_MIN_PASSED 99\n", ".env, line 3 is not NAME=value: COMPAT_MIN_PASSED 99"),
        ("SAMCLI_REFS\n", ".env, line 1 is not NAME=value: SAMCLI_REFS"),
        ("SAMCLI_REFS='develop\n", ".env, line 1 is not NAME=value: SAMCLI_REFS='develop"),
        ("COMPAT_JOBS=3 # mine\n", ".env, line 1: put the comment on a line of its own: COMPAT_JOBS=3 # mine"),
        ("COMPAT_JOBS= # mine\n", ".env, line 1: put the comment on a line of its own: COMPAT_JOBS= # mine"),
        ("EMULATOR_PREBUILD=echo it's # x\n", ".env, line 1: put the comment on a line of its own"),
        ("\nexport COMPAT_JOBS=3\t# x\n", ".env, line 2: put the comment on a line of its own"),
        ("samcli_refs=v1.160.0\n", "unknown setting samcli_refs in .env: did you mean SAMCLI_REFS?"),
        ("SAMCLI_REF=develop\n", "unknown setting SAMCLI_REF in .env: did you mean SAMCLI_REFS?"),
        ("SAM_CLI_REFS=develop\n", "unknown setting SAM_CLI_REFS in .env: did you mean SAMCLI_REFS?"),
        ("COMPAT_ZZZZZZZZZZZZ=1\n", "unknown setting COMPAT_ZZZZZZZZZZZZ in .env"),
    ],
)
def test_a_line_that_would_be_misread(root: Path, text: str, says: str) -> None:
    (root / ".env").write_text(text)
    with pytest.raises(GateError, match=f"^{re.escape(says)}"):
        load({})


def test_a_file_that_cannot_be_read(root: Path) -> None:
    (root / ".env").write_bytes(b"SAMCLI_REFS=\xff\n")
    with pytest.raises(GateError, match=r"\.env is not UTF-8 text"):
        load({})
    (root / ".env").unlink()
    (root / ".env").mkdir()
    with pytest.raises(GateError, match=r"\.env is a folder"):
        load({})


def test_other_programs_variables_in_an_env_file_that_was_there_before(root: Path) -> None:
    """An adopting repository may have a .env of its own."""
    (root / ".env").write_text(
        "AWS_PROFILE=dev\nPORT=80 # http\nexport DATABASE_URL='x y'\nCOMPAT_JOBS=3\nSAM_CLI_TELEMETRY\n"
    )
    assert load({}).compat_jobs == 3


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("SAMCLI_REF", ": did you mean SAMCLI_REFS?"),
        ("SAMCLI_BRANCH", ""),
        ("EMULATOR_SRC", ""),
        ("samcli_refs", ": did you mean SAMCLI_REFS?"),
        ("GATED_PATH", ": did you mean GATED_PATHS?"),
    ],
)
def test_an_unknown_name_with_one_of_the_gates_prefixes_in_the_environment(name: str, says: str) -> None:
    with pytest.raises(GateError, match=re.escape(f"unknown setting {name} in the environment{says}")):
        load({name: "x"})


def test_other_programs_variables_are_ignored() -> None:
    load({"COMPAT_REQUIRE_ENGINE": "1", "EMULATOR_RELEASE_TAG": "v", "SAM_CLI_TELEMETRY": "0", "ANDROID_EMULATOR": "x"})


def test_example_that_lacks_a_setting(root: Path) -> None:
    (root / ".env.example").write_text("SAMCLI_REFS=develop\n")
    with pytest.raises(GateError, match=r"\.env\.example lacks COMPAT_BASELINE, .*: copy it again from the template"):
        load({})


def test_example_that_is_missing(root: Path) -> None:
    (root / ".env.example").unlink()
    with pytest.raises(GateError, match="lists every setting"):
        load({})

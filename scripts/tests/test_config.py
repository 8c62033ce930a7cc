import re
from pathlib import Path

import pytest

import config
from command import GateError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / ".env.example").write_text((config.ROOT / ".env.example").read_text())
    return tmp_path


def test_every_setting_has_a_default_and_a_reason() -> None:
    text = (config.ROOT / ".env.example").read_text()
    for name in config.Config.__dataclass_fields__:
        assert re.search(rf"^# .+\n{name.upper()}=", text, re.MULTILINE), name


def test_defaults_are_those_of_the_real_parts(root: Path) -> None:
    settings = config.load(root, environ={})
    assert settings.emulator_repository == "public.ecr.aws/durable-functions/aws-durable-execution-emulator"
    assert settings.samcli_refs == ("develop",)
    assert len(settings.samcli_tests) == 4
    assert (settings.compat_min_passed, settings.compat_reruns, settings.compat_timeout) == (35, 1, 1800)
    assert settings.compat_jobs is None


def test_later_layers_win(root: Path) -> None:
    (root / ".env").write_text("SAMCLI_REFS='v1.160.0 latest'\nCOMPAT_JOBS=3\nCOMPAT_RERUNS=2\n")
    settings = config.load(root, environ={"COMPAT_JOBS": "5", "EMULATOR_PREBUILD": ""})
    assert settings.samcli_refs == ("v1.160.0", "latest")
    assert (settings.compat_jobs, settings.compat_reruns, settings.emulator_prebuild) == (5, 2, "")


def test_values_are_taken_as_written(root: Path) -> None:
    settings = config.load(root, environ={"EMULATOR_PREBUILD": "echo $HOME ${X}"})
    assert settings.emulator_prebuild == "echo $HOME ${X}"


def test_paths_are_what_pytest_calls_them(root: Path) -> None:
    assert config.load(root, environ={"SAMCLI_TESTS": "./a/test_x.py a//test_x.py"}).samcli_tests == ("a/test_x.py",)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("COMPAT_JOBS", "many"),
        ("COMPAT_JOBS", "0"),
        ("COMPAT_MIN_PASSED", "0"),
        ("COMPAT_MIN_PASSED", "-1"),
        ("COMPAT_MIN_PASSED", ""),
        ("COMPAT_RERUNS", "1.5"),
        ("COMPAT_TIMEOUT", "٣"),
        ("SAMCLI_REFS", " "),
        ("SAMCLI_REFS", "--upload-pack=x"),
        ("SAMCLI_TESTS", "/etc/test_x.py"),
        ("SAMCLI_TESTS", "../test_x.py"),
        ("SAMCLI_TESTS", "tests/"),
        ("SAMCLI_TESTS", "-p"),
        ("SAMCLI_PYTHON", "python"),
        ("SAMCLI_SOURCE", ""),
        ("EMULATOR_SOURCE", ""),
        ("EMULATOR_REPOSITORY", "Upper/case"),
        ("EMULATOR_REPOSITORY", "emulator:latest"),
        ("EMULATOR_REPOSITORY", "--help"),
        ("EMULATOR_TAG", "a/b"),
        ("EMULATOR_TAG", "latest"),
        ("EMULATOR_TAG", "Latest"),
        ("EMULATOR_TAG", "v1"),
        ("EMULATOR_TAG", "v1.2.1-arm64"),
        ("EMULATOR_TAG", "1.2.1"),
        ("EMULATOR_TAG", "1"),
        ("EMULATOR_TAG", "latest-x86_64"),
        ("EMULATOR_REPOSITORY", "a//b"),
        ("EMULATOR_REPOSITORY", "a..b"),
        ("COMPAT_SAVE_IMAGE", "yes"),
        ("PUBLISH_PLATFORMS", "linux/386"),
        ("EMULATOR_VERSION", "1 2"),
        ("GATED_PATHS", ""),
        ("GATED_PATHS", "/src/**"),
        ("GATED_PATHS", "src/** ../other/**"),
        ("GATED_PATHS", "src/*.{py,toml}"),
        ("GATED_PATHS", ":!docs/**"),
        ("GATED_PATHS", "!docs/**"),
    ],
)
@pytest.mark.parametrize("layer", [".env", "environment"])
def test_a_malformed_value_names_setting_value_and_layer(root: Path, name: str, value: str, layer: str) -> None:
    environ = {name: value} if layer == "environment" else {}
    if layer == ".env":
        (root / ".env").write_text(f"{name}='{value}'\n")
    with pytest.raises(GateError, match=re.escape(f"{name}={value!r} (from {layer})")):
        config.load(root, environ=environ)


def test_line_that_is_no_setting(root: Path) -> None:
    (root / ".env").write_text("COMPAT_RERUNS=2\nCOMPAT_MIN_PASSED: 99\n")
    with pytest.raises(GateError, match=r"\.env, line 2 is no NAME=value: COMPAT_MIN_PASSED: 99"):
        config.load(root, environ={})


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("SAMCLI_REF", ": did you mean SAMCLI_REFS"),
        ("SAM_CLI_REFS", ": did you mean SAMCLI_REFS"),
        ("COMPAT_ZZZZZZZZZZZZ", "$"),
    ],
)
def test_unknown_setting_in_env_file(root: Path, name: str, says: str) -> None:
    (root / ".env").write_text(f"{name}=develop\n")
    with pytest.raises(GateError, match=rf"unknown setting {name} in \.env{says}"):
        config.load(root, environ={})


def test_other_programs_variables_in_an_env_file_that_was_there_before(root: Path) -> None:
    """An adopting repository may have a .env of its own."""
    (root / ".env").write_text(
        "AWS_PROFILE=dev\nPORT=80\nexport DATABASE_URL='x y'\nCOMPAT_JOBS=3\nSAM_CLI_TELEMETRY\n"
    )
    assert config.load(root, environ={}).compat_jobs == 3


def test_misspelt_setting_in_environment(root: Path) -> None:
    with pytest.raises(GateError, match="unknown setting SAMCLI_REF in environment: did you mean SAMCLI_REFS"):
        config.load(root, environ={"SAMCLI_REF": "develop"})


def test_other_programs_variables_are_none_of_ours(root: Path) -> None:
    assert config.load(root, environ={"EMULATOR_HOME": "/x", "COMPAT_REQUIRE_ENGINE": "1"})


def test_example_that_lacks_a_setting(root: Path) -> None:
    (root / ".env.example").write_text("SAMCLI_REFS=develop\n")
    with pytest.raises(GateError, match=r"\.env\.example lacks COMPAT_BASELINE"):
        config.load(root, environ={})


def test_no_example(tmp_path: Path) -> None:
    with pytest.raises(GateError, match="lists every setting"):
        config.load(tmp_path, environ={})

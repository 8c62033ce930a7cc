"""The settings: three layers, misspelt names, and a .env that belongs to other programs too."""

import codecs
import re
import shutil
from pathlib import Path

import pytest

from gate import settings, workspace
from gate.cli import GateError
from gate.settings import load

SECRET = "hunter2"


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone of which only the settings matter."""
    shutil.copy(workspace.ROOT / ".env.example", tmp_path)
    monkeypatch.setattr(settings, "ROOT", tmp_path)
    for name in settings.KNOWN:
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
    assert set(re.findall(r"^# .+\n([A-Z_]+)=", text, re.MULTILINE)) == set(settings.KNOWN)


def test_later_layers_win(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = "SAMCLI_REFS='v1.160.0 latest:3'\nEMULATOR_TAG=${HOME}\nCOMPAT_JOBS=3 # mine\n"
    (root / ".env").write_text(ours)
    monkeypatch.setenv("COMPAT_JOBS", "5")
    monkeypatch.setenv("EMULATOR_PREBUILD", "")
    found = load()
    assert (found.samcli_refs, found.emulator_tag) == (("v1.160.0", "latest:3"), "${HOME}")
    assert (found.compat_jobs, found.compat_min_passed, found.emulator_prebuild) == (5, 35, "")


def test_what_is_committed_is_neither_env_nor_the_environment(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / ".env").write_text("COMPAT_MIN_PASSED=1\n")
    monkeypatch.setenv("SAMCLI_REFS", "mine")
    committed = settings.load_committed()
    assert (committed.compat_min_passed, committed.samcli_refs) == (35, ("develop",))


@pytest.mark.parametrize("name", ["SAMCLI_REF", "SAMCLI_BRANCH", "GATED_PATH", "COMPAT_ZZZZZZ"])
def test_an_unknown_name_of_ours_is_an_error(
    root: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    assert refused(root, f"{name}={SECRET}\n").startswith(f"unknown setting {name} in .env")
    (root / ".env").unlink()
    monkeypatch.setenv(name, SECRET)
    with pytest.raises(GateError, match=f"^unknown setting {name} in the environment"):
        load()


@pytest.mark.parametrize("name", ["SAMCLI_REFS", "EMULATOR_SOURCE"])
def test_a_misspelt_name_is_answered_with_the_nearest_one(root: Path, name: str) -> None:
    wrong = refused(root, f"{name}X=x\n")
    assert wrong == f"unknown setting {name}X in .env: did you mean {name}?"


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
    ids=["yaml", "shell", "PUBLISH_", "EMULATOR_", "a key on several lines", "a quote left open"],
)
def test_a_line_of_another_program_is_no_error_and_is_never_printed(
    root: Path, line: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    text = f"COMPAT_RERUNS=3\n{line} # é\nSAMCLI_REFS=mine\n"
    (root / ".env").write_bytes(codecs.BOM_UTF8 + text.encode("latin-1"))
    assert (load().compat_reruns, load().samcli_refs) == (3, ("mine",))
    assert SECRET not in "".join(capfd.readouterr()) + caplog.text
    assert refused(root, f"{line}\nCOMPAT_RERUNS=x\n").startswith("COMPAT_RERUNS=x: ")


@pytest.mark.parametrize("tag", ["latest", "Latest", "stable", "v1", "V1.2.1-arm64", "1.2.1"])
def test_the_candidates_tag_is_never_one_that_could_be_published(root: Path, tag: str) -> None:
    assert refused(root, f"EMULATOR_TAG={tag}\n").startswith(f"EMULATOR_TAG={tag} could be")


@pytest.mark.parametrize("glob", ["/src/**", "src/*.{py,toml}", ":!docs/**", "!docs/**"])
def test_a_glob_that_guards_nothing_is_an_error(root: Path, glob: str) -> None:
    assert refused(root, f"GATED_PATHS=src/** {glob}\n").startswith(f"GATED_PATHS: {glob} would")


def test_refs_may_be_compared_ones_only_and_not_missing(root: Path) -> None:
    (root / ".env").write_text("SAMCLI_REFS=\nSAMCLI_COMPARED_REFS=develop\n")
    assert (load().samcli_refs, load().samcli_compared_refs) == ((), ("develop",))
    assert "SAMCLI_REFS and SAMCLI_COMPARED_REFS are both empty" in refused(root, "SAMCLI_REFS=\n")

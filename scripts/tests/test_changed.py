"""make changed: which commits and which releases the gate runs for."""

import pytest

from .conftest import Gate, commit_all, commit_settings, git


class Changed(Gate):
    """A committed copy of the template, and what `make changed` says of it."""

    def write(self, *paths: str) -> None:
        """Change files and commit them."""
        for path in paths:
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            with (self.root / path).open("a") as file:
                file.write("# changed\n")
        commit_all(self.root)

    def lines(self, base: str = "HEAD~1", **settings: str) -> list[str]:
        """Return what is printed, which must be what the job hands on."""
        output = self.root.parent / "output"
        output.unlink(missing_ok=True)
        given = {"BASE": base, "CI": "", "GITHUB_OUTPUT": str(output)} | settings
        done = self.make("changed", **given)
        assert done.returncode == 0, done.stdout
        printed = done.stdout.replace("\t", " ").splitlines()
        assert self.outputs()["gated"] == printed[0].removeprefix("gated=")
        return [line.strip() for line in printed]

    def outputs(self) -> dict[str, str]:
        text = (self.root.parent / "output").read_text()
        return dict(line.split("=", 1) for line in text.splitlines())


@pytest.fixture
def repository(template: Gate) -> Changed:
    found = Changed(template.root, {})
    commit_settings(found, EMULATOR_SOURCE=".", GATED_PATHS="src/** Dockerfile")
    found.write("Dockerfile", "src/a.py", "docs/b.md", ".github/workflows/sam-cli-compat.yml")
    return found


def test_a_change_of_nothing_guarded_is_not_gated(repository: Changed) -> None:
    repository.write("docs/Dockerfile", "docs/src/x", "srcs", ".github/workflows/x.yml")
    assert repository.lines() == ["gated=false"]


def test_what_is_guarded_and_the_gates_own_files_are_gated(repository: Changed) -> None:
    own = (".env.example", ".gitattributes", ".github/workflows/sam-cli-compat.yml", "Makefile")
    repository.write("src/deep/new.py", "scripts/gate/rules.py", *own, "docs/b.md")
    kind = {"src/deep/new.py": "A", ".gitattributes": "A"}
    wanted = sorted([*own, "src/deep/new.py", "scripts/gate/rules.py"])
    assert repository.lines() == ["gated=true", *(f"{kind.get(p, 'M')} {p}" for p in wanted)]


def test_a_file_that_is_moved_out_and_a_folder_that_becomes_a_link_are_gated(
    repository: Changed,
) -> None:
    git("mv", "src/a.py", "docs/a.py", cwd=repository.root)
    git("mv", "scripts", "elsewhere", cwd=repository.root)
    (repository.root / "scripts").symlink_to("elsewhere")
    repository.write("docs/b.md")
    wanted = {"gated=true", "D src/a.py", "A scripts", "D scripts/VERSION"}
    assert wanted <= set(repository.lines())


def test_in_a_hook_git_still_reads_this_repository(repository: Changed) -> None:
    repository.write("src/a.py")
    names = ("DIR", "INDEX_FILE", "WORK_TREE", "OBJECT_DIRECTORY", "LITERAL_PATHSPECS")
    hook = {f"GIT_{name}": str(repository.root.parent / "elsewhere") for name in names}
    assert repository.lines(**hook) == ["gated=true", "M src/a.py"]


def test_what_the_base_did_meanwhile_does_not_count(repository: Changed) -> None:
    git("checkout", "--quiet", "-b", "topic", cwd=repository.root)
    repository.write("docs/b.md")
    git("checkout", "--quiet", "develop", cwd=repository.root)
    repository.write("src/a.py")
    git("checkout", "--quiet", "topic", cwd=repository.root)
    assert repository.lines("develop") == ["gated=false"]


def test_a_base_that_cannot_be_compared_is_a_doubt(repository: Changed) -> None:
    repository.write("docs/b.md")
    for base in ("", "0" * 40, "no-such-branch", "--all"):
        found = repository.lines(base)
        assert (found[0], found[-1][:9]) == ("gated=true", "in doubt:"), base


def test_globs_that_leave_out_the_dockerfile_are_a_doubt(repository: Changed) -> None:
    repository.write("docs/Dockerfile")
    for source, globs in ((".", "src/**"), ("docs", "src/** Dockerfile"), ("nowhere", "*")):
        found = repository.lines(EMULATOR_SOURCE=source, GATED_PATHS=globs)
        assert found[0] == "gated=true", source
        assert found[1].startswith("in doubt: GATED_PATHS does not cover "), source
    url = "https://host/emulator.git#main"  # no commit here changes it
    assert repository.lines(EMULATOR_SOURCE=url, GATED_PATHS="src/**") == ["gated=false"]


def test_a_gate_in_a_folder_of_its_own(repository: Changed) -> None:
    top, folder = repository.root, repository.root / "gate"
    folder.mkdir()
    for name in ("Makefile", ".env.example", "scripts", ".cache"):
        (top / name).rename(folder / name)
    repository.write("docs/b.md")
    in_folder = Changed(folder, {"EMULATOR_SOURCE": ".."})
    for path, found in (
        ("gate/scripts/VERSION", ["gated=true", "M gate/scripts/VERSION"]),
        (".github/workflows/promote.yml", ["gated=true", "A .github/workflows/promote.yml"]),
        ("src/b", ["gated=true", "A src/b"]),
        ("scripts/b", ["gated=false"]),
    ):
        repository.write(path)
        assert in_folder.lines() == found


def test_a_release_is_gated_if_a_part_of_its_tag_is_the_emulators(repository: Changed) -> None:
    def lines(tag: str, prefix: str) -> list[str]:
        return repository.lines("", RELEASE_TAG=tag, RELEASE_TAG_PREFIX=prefix)

    both = "sdk-v1.8.0,testing-v1.3.0"
    assert lines("v1.3.0", "v") == ["gated=true", "v1.3.0"]
    assert lines(both, "testing-v") == ["gated=true", "testing-v1.3.0"]
    assert lines(both, "v") == lines("sdk-v1.8.0,otel-v0.3.0", "testing-v") == ["gated=false"]


def test_what_the_workflow_hands_on(repository: Changed) -> None:
    commit_settings(repository, SAMCLI_COMPARED_REFS="v1 v2")
    repository.lines()
    both, one = '["linux-amd64", "linux-arm64"]', '["linux-amd64"]'
    refs = {"refs": "develop", "compared-refs": "v1 v2"}
    assert repository.outputs() == {"gated": "true", "platforms": both} | refs
    given = {"INPUT_REFS": "develop latest", "INPUT_COMPARED_REFS": "latest:6"}
    repository.lines(GITHUB_EVENT_NAME="pull_request", **given)
    refs = {"refs": "develop latest", "compared-refs": "latest:6"}
    assert repository.outputs() == {"gated": "true", "platforms": one} | refs


def test_a_committed_file_that_would_steer_the_gate_is_refused_in_ci(repository: Changed) -> None:
    for name in (".env", ".cache/x", ".compat/linux-amd64/verdict.json"):
        (repository.root / name).parent.mkdir(parents=True, exist_ok=True)
        (repository.root / name).touch()
        git("add", "--force", name, cwd=repository.root)
        commit_all(repository.root)
        assert repository.lines() == ["gated=false"]
        done = repository.make("changed", BASE="HEAD~1", CI="true")
        assert (done.returncode, "gated=" in done.stdout) == (2, False)
        assert name in done.stdout.partition(" is committed: remove it from git")[0]

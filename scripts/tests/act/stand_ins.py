"""Stand-ins for what the workflows call: the pinned actions, and make; standard library only.

An action takes its inputs as the real one does, does with files what the real one does, and fails
where the real one fails, or where it is not given what this repository's workflows must give it.
`make plan` and `make required` run this repository's scripts. The other targets leave what the real
ones leave, and a line in $CALLS: what they were given, and which files they saw.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

Inputs = dict[str, str]
HERE = Path.cwd()  # the checkout, or the gate's folder in it
ARTIFACTS = Path(os.environ.get("ARTIFACTS", ""))
NOT_IN_A_NAME = re.compile(r'[":<>|*?\r\n\\/]')

# The inputs of each action: its default, or None where the workflows must say what they want.
ACTIONS: dict[str, dict[str, str | None]] = {
    "actions/checkout": {"fetch-depth": "1", "persist-credentials": None},
    "actions/setup-python": {"python-version": None},
    "docker/setup-qemu-action": {
        "image": None,
        "platforms": None,
        "cache-image": None,
    },
    "actions/upload-artifact": {
        "name": None,
        "path": None,
        "if-no-files-found": "warn",
        "include-hidden-files": "false",
        "overwrite": "false",
        "retention-days": None,
    },
    "actions/download-artifact": {
        "name": "",
        "pattern": "",
        "path": None,
        "merge-multiple": "false",
    },
    "aws-actions/configure-aws-credentials": {
        "aws-region": None,
        "role-to-assume": None,
    },
    "aws-actions/amazon-ecr-login": {"registry-type": None},
    "actions/attest": {
        "subject-name": None,
        "subject-digest": None,
        "predicate-type": "",
        "predicate-path": "",
        "push-to-registry": None,
        "create-storage-record": None,
    },
}


def main() -> None:
    name, *arguments = sys.argv[1:]
    if name == "make":
        make(arguments)
        return
    inputs = {
        key: str(value)
        for key, value in json.loads(os.environ["INPUTS"]).items()
    }
    for key, default in ACTIONS[name].items():
        check(default is not None or inputs[key], f"{name}: {key} is empty")
    function = name.partition("/")[2].replace("-", "_")
    globals()[function](inputs)


def check(condition: object, otherwise: str) -> None:
    if not condition:
        sys.exit(f"stand-in: {otherwise}")


def note(did: str, **details: Any) -> None:
    """Add a line to $CALLS; jobs run at the same time."""
    line = json.dumps({"job": os.environ["GITHUB_JOB"], "did": did, **details})
    with Path(os.environ["CALLS"]).open("a") as file:
        file.write(f"{line}\n")


def set_for_later_steps(name: str, value: str) -> None:
    with Path(os.environ["GITHUB_ENV"]).open("a") as file:
        file.write(f"{name}={value}\n")


def git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], check=True)


# --- the actions


def checkout(inputs: Inputs) -> None:
    check(
        inputs["persist-credentials"] == "false",
        "checkout leaves a token in the checkout",
    )
    sha = os.environ["GITHUB_SHA"]
    git("init", "--quiet", ".")
    git("remote", "add", "origin", os.environ["ORIGIN"])
    everything = (
        "+refs/heads/*:refs/remotes/origin/*",
        "+refs/tags/*:refs/tags/*",
        sha,
    )
    if inputs["fetch-depth"] == "0":
        git("fetch", "--quiet", "origin", *everything)
    else:
        git(
            "fetch",
            "--quiet",
            f"--depth={inputs['fetch-depth']}",
            "origin",
            sha,
        )
    git("checkout", "--quiet", "--detach", sha)


def setup_python(inputs: Inputs) -> None:
    set_for_later_steps("SET_UP_PYTHON", inputs["python-version"].split()[-1])


def setup_qemu_action(inputs: Inputs) -> None:
    check(
        re.search("@sha256:[0-9a-f]{64}$", inputs["image"]),
        "the image is not pinned",
    )
    check(inputs["cache-image"] == "false", "a cache is written")
    set_for_later_steps("EMULATED", inputs["platforms"])


def upload_artifact(inputs: Inputs) -> None:
    check(
        not NOT_IN_A_NAME.search(inputs["name"]),
        f"{inputs['name']}: not a name",
    )
    included, excluded = set(), set()
    roots = []
    for line in inputs["path"].split():
        found = files_of(line.removeprefix("!"))
        if line.startswith("!"):
            excluded |= found
        else:
            included |= found
            roots.append(re.split(r"/[^/]*[*?\[]", line)[0])
    files = included - excluded
    if inputs["include-hidden-files"] != "true":
        files = {
            path for path in files if not re.search(r"(^|/)\.\w", str(path))
        }
    if not files:
        check(
            inputs["if-no-files-found"] != "error",
            f"no files were found: {inputs['path']}",
        )
        return
    root = os.path.commonpath([os.path.normpath(each) for each in roots])
    artifact = ARTIFACTS / inputs["name"]
    check(
        inputs["overwrite"] == "true" or not artifact.exists(),
        "409: it exists already",
    )
    shutil.rmtree(artifact, ignore_errors=True)
    for path in files:
        copy = artifact / os.path.relpath(path, root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    note(f"upload {inputs['name']}", days=inputs["retention-days"])


def files_of(pattern: str) -> set[Path]:
    found = list(Path().glob(os.path.normpath(pattern)))
    below = [path for folder in found for path in folder.rglob("*")]
    return {
        Path(os.path.normpath(path))
        for path in (*found, *below)
        if path.is_file()
    }


def download_artifact(inputs: Inputs) -> None:
    if name := inputs["name"]:
        check(
            (ARTIFACTS / name).exists(), f"Artifact not found for name: {name}"
        )
        into = {name: Path(inputs["path"])}
    else:
        check(inputs["pattern"], "neither a name nor a pattern")
        names = sorted(path.name for path in ARTIFACTS.glob(inputs["pattern"]))
        # One artifact has no folder of its own.
        merged = inputs["merge-multiple"] == "true" or len(names) == 1
        folder = Path(inputs["path"])
        into = {name: folder if merged else folder / name for name in names}
    note(f"download {inputs['name'] or inputs['pattern']}")
    for name, folder in into.items():
        shutil.copytree(ARTIFACTS / name, folder, dirs_exist_ok=True)


def configure_aws_credentials(inputs: Inputs) -> None:
    check(
        inputs["aws-region"] == "us-east-1",
        "ECR Public signs in at us-east-1 only",
    )
    note(f"sign in as {inputs['role-to-assume']}")
    set_for_later_steps("AWS_ACCESS_KEY_ID", "key")


def amazon_ecr_login(inputs: Inputs) -> None:
    check(inputs["registry-type"] == "public", "this is not ECR Public")
    check("AWS_ACCESS_KEY_ID" in os.environ, "there are no credentials")
    note("log in")
    set_for_later_steps("LOGGED_IN", "1")


def attest(inputs: Inputs) -> None:
    check(
        inputs["push-to-registry"] == "true",
        "the attestation would not be in the registry",
    )
    check(
        inputs["create-storage-record"] == "false",
        "needs artifact-metadata: write",
    )
    check("LOGGED_IN" in os.environ, "it cannot be pushed")
    predicate = inputs["predicate-path"]
    note(
        f"attest {inputs['subject-name']}@{inputs['subject-digest']}",
        type=inputs["predicate-type"],
        predicate=Path(predicate).read_text() if predicate else "",
    )


# --- make


def make(arguments: list[str]) -> None:
    check(
        arguments[:2] == ["-f", "Makefile"],
        "a GNUmakefile would take the Makefile's place",
    )
    target, *assigned = arguments[2:]
    given = dict(each.split("=", 1) for each in assigned)
    if target == "required":
        os.execv(os.environ["REAL_MAKE"], ["make", *arguments])
    check("SET_UP_PYTHON" in os.environ, f"make {target} has no Python")
    note(
        " ".join(["make", target, *assigned]),
        env={name: os.environ[name] for name in NOTED if name in os.environ},
        files={
            str(path): path.read_text() for path in sorted(files_of(".compat"))
        },
        machine=os.environ.get("MACHINE"),
    )
    if target == "plan":
        # By itself: make would install a venv, in place of this test run's own.
        os.execv(sys.executable, [sys.executable, "scripts/plan.py"])
    MAKE.get(target, make_nothing)(given)
    mark = target
    if target == "image":
        mark = f"image:{platform()}"
    if target == "compat":
        mark = f"compat:{platform()}:{ref()}"
    check(mark not in os.environ["FAILING"].split(), f"{mark} fails")


NOTED = (
    "BASE",
    "BUILT_DIGESTS",
    "COMPAT_SAVE_IMAGE",
    "COMPAT_SDK",
    "EMULATED",
    "EMULATOR_IMAGE",
    "GH_TOKEN",
    "INPUT_COMPARED_REFS",
    "INPUT_REFS",
    "PLAN",
    "RELEASE_TAG",
    "REQUIRE_ENGINE",
    "SAMCLI_COMPARED_REFS",
    "SAMCLI_REFS",
    "SET_UP_PYTHON",
    "VERSION",
)


def platform() -> str:
    return (
        "linux-arm64"
        if os.environ["MACHINE"] == "ubuntu-24.04-arm"
        else "linux-amd64"
    )


def ref() -> str:
    """Return the ref of a row, without its commit."""
    refs = os.environ.get("SAMCLI_REFS", "") + os.environ.get(
        "SAMCLI_COMPARED_REFS", ""
    )
    return refs.partition("@")[0]


def leave(name: str, text: str) -> None:
    path = HERE / ".compat" / platform() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def output(**values: str) -> None:
    with Path(os.environ["GITHUB_OUTPUT"]).open("a") as file:
        file.writelines(
            f"{name.replace('_', '-')}={value}\n"
            for name, value in values.items()
        )


def make_image(given: dict[str, str]) -> None:
    built = f"{platform()} {os.environ['COMPAT_SDK']}"
    leave("candidate.json", f"built {built}")
    if os.environ.get("COMPAT_SAVE_IMAGE") == "1":
        leave("image.tar", f"image {built}")
    output(**{f"digest_{platform()}": f"sha256:{built.replace(' ', '-')}"})


def make_compat(given: dict[str, str]) -> None:
    image = os.environ["EMULATOR_IMAGE"]
    sdk = os.environ["COMPAT_SDK"]
    if image != "published":
        tested = Path(image).read_text()
        check(
            tested == f"image {platform()} {sdk}", f"this row got the {tested}"
        )
    if platform() == "linux-arm64":
        check(
            os.environ.get("EMULATED") == "amd64",
            "the functions under test cannot run",
        )
    leave("candidate.json", "loaded")
    leave("image.tar", "a second copy")
    leave("verdict.json", verdict(platform(), ref()))
    leave("logs/shard.log", "log")


def verdict(platform: str, ref: str) -> str:
    """Return the line that stands in for a row's verdict.json."""
    outcomes = {ref: f"{ref} on {platform}: 40 passed"}
    return json.dumps({"green": True, "outcomes": outcomes}) + "\n"


def make_publish(given: dict[str, str]) -> None:
    """Join the rows' verdicts, as publish.py does, and set outputs."""
    joined: dict[str, str] = {}
    for path in sorted(Path(".compat/rows").rglob("verdict.json")):
        platform = path.parent.name
        joined[platform] = joined.get(platform, "") + path.read_text()
    for platform, verdict in joined.items():
        (Path(".compat") / platform / "verdict.json").write_text(verdict)
    if given.get("PUBLISH_DRY_RUN") != "1":
        check("LOGGED_IN" in os.environ, "the push is refused")
        output(name="registry/emulator", digest="sha256:index")


def make_promote(given: dict[str, str]) -> None:
    check("LOGGED_IN" in os.environ, "the push is refused")


def make_nothing(given: dict[str, str]) -> None:
    """Lint, test, engine: they are noted."""


MAKE = {
    "image": make_image,
    "compat": make_compat,
    "publish": make_publish,
    "promote": make_promote,
}


if __name__ == "__main__":
    main()

"""make samcli: check out aws-sam-cli at each ref and install it in a venv of its own."""

from gate import samcli, workspace
from gate.cli import run_main
from gate.settings import load


def main() -> int:
    """Print each aws-sam-cli that is installed now."""
    settings = load()
    with workspace.lock():
        for checkout in samcli.install_all(settings):
            sam_cli = checkout.sam_cli
            commit = sam_cli.commit[:12]
            print(f"aws-sam-cli {checkout.version} ({sam_cli.ref}, {commit})")
    return 0


if __name__ == "__main__":
    run_main(main)

"""make samcli: check out aws-sam-cli at each ref and install it in a venv of its own."""

from gate import workspace
from gate.cli import run_main
from gate.settings import load
from gate.sources import samcli


def main() -> int:
    """Install aws-sam-cli at SAMCLI_REFS and SAMCLI_COMPARED_REFS, record them for `compat`, and return 0."""
    settings = load()
    with workspace.lock():
        for checkout in samcli.install_all(settings):
            print(f"aws-sam-cli {checkout.version} ({checkout.ref}, {checkout.commit[:12]})", flush=True)
    return 0


if __name__ == "__main__":
    run_main(main)

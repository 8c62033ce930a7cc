"""make samcli: check out aws-sam-cli at each ref and install it in a venv of its own."""

from gate import samcli, workspace
from gate.cli import run_main
from gate.settings import load


def main() -> int:
    settings = load()
    with workspace.lock():
        for checkout in samcli.install_all(settings):
            print(f"aws-sam-cli {checkout.version} ({checkout.ref}, {checkout.commit[:12]})")
    return 0


if __name__ == "__main__":
    run_main(main)

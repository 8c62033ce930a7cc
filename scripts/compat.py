"""make compat: run aws-sam-cli's durable tests against the candidate, judge the results, and write the verdict.

`runner.run` does the work for each aws-sam-cli: shards, the event monitor, retries, the comparison with the published
image. The verdict is green if `rules` finds no reason against it.
"""

from gate import workspace
from gate.cli import run_main
from gate.containers import engine
from gate.settings import load
from gate.sources import samcli
from gate.suite import machine, runner, timeline
from gate.verdict import candidate, model, report, rules
from gate.verdict.model import Verdict


@engine.errors_explained()
def main() -> int:
    """Return 0 for a green verdict, 1 for a red one. After an error no verdict is written."""
    with workspace.lock():
        workspace.delete_verdict()  # before anything else can fail
        settings, client = load(), engine.connect()
        platform = engine.platform(client)
        workspace.delete_verdict(platform)
        tested = candidate.load(platform, settings)
        machine.check_engine(client, tested)
        machine.warn_if_short(settings)
        workspace.delete_findings(platform)
        required = model.requirements(settings, samcli.origin(settings))
        runs = [runner.run(client, settings, checkout, tested) for checkout in samcli.installed(settings)]
        reasons = rules.unmet(required, tested, runs)
        reasons += rules.moved_tag(tested, engine.image_id(client, tested.reference))
        verdict = Verdict(required, tested, runs, reasons)
        try:
            report.save(verdict)
            verdict.save()
        except BaseException:  # no report without its verdict
            workspace.delete_verdict(platform)
            raise
    print(*timeline.of_single_test(runs), report.terminal(verdict), sep="\n", flush=True)
    return 0 if verdict.green else 1


if __name__ == "__main__":
    run_main(main)

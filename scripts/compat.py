"""make compat: run aws-sam-cli's durable tests against the candidate, judge, and write the verdict."""

from gate import workspace
from gate.cli import run_main
from gate.containers import engine
from gate.containers.images import Image
from gate.settings import Settings, load
from gate.sources import samcli
from gate.sources.samcli import Checkout
from gate.suite import baseline, runner, selection, shards, timeline
from gate.verdict import candidate, model, report, rules
from gate.verdict.model import Run, Verdict


@engine.errors_explained()
def main() -> int:
    """Return 0 for a green verdict, 1 for a red one; after an error there is none."""
    workspace.delete_verdict()  # before anything can fail; the engine may turn out to be of another platform
    settings, client = load(), engine.connect()
    platform = engine.platform(client)
    workspace.delete_verdict(platform)
    with workspace.lock():
        tested = candidate.load(platform, settings)
        selection.check_engine(client, tested)
        selection.warn_if_short(shards.jobs(settings))
        workspace.delete_findings(platform)
        gate = model.required(settings, samcli.origin(settings))
        runs = [run_suite(client, settings, tested, checkout) for checkout in samcli.installed(settings)]
        shards.keep_durations(runs)
        reasons = rules.unmet(gate, tested, runs)
        reasons += rules.moved_tag(tested, engine.image_id(client, tested.reference))
        verdict = Verdict(gate, tested, runs, reasons)
        try:
            report.save(verdict)
            verdict.save()
        except BaseException:  # both or neither
            workspace.delete_verdict(platform)
            raise
    print(*timeline.of_single_test(runs), report.terminal(verdict), sep="\n", flush=True)
    return 0 if verdict.green else 1


def run_suite(client: engine.Client, settings: Settings, tested: Image, checkout: Checkout) -> Run:
    """Run the suite of one aws-sam-cli against the candidate; what failed, against the published image too."""
    source = checkout.home / "src"
    tests, problems = selection.select(source, settings.samcli_tests)
    plan = runner.Plan(tests, checkout.slug, settings.compat_reruns, settings.compat_timeout)
    if tests and checkout.uses_image:
        found = runner.run(client, settings, checkout, tested, plan)
    else:
        found = runner.nothing(checkout)
    found.problems += problems
    found.uncovered = selection.uncovered(source, settings.samcli_tests)
    baseline.attribute(client, settings, tested, checkout, found)
    return found


if __name__ == "__main__":
    run_main(main)

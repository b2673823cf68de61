"""The operations pages and the systemd unit agree with the code; links of all pages lead somewhere."""

import re
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

from gateway.settings import Settings, load
from gateway.telemetry import Metrics
from gateway.telemetry.metrics import DROPS, OUTCOMES, REFUSALS
from gateway.telemetry.rlimits import FILE_CAP
from gateway.telemetry.webhook_metrics import ATTEMPT_OUTCOMES, DROP_REASONS

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "etc/systemd/flaggateway.service"
SUFFIXES = {"counter": "_total"}


def registered():
    """Names as they are scraped, with their types."""
    families = Metrics(lambda: 0.0, "1").collect()
    return {family.name + SUFFIXES.get(family.type, ""): family.type for family in families}


def table_rows(page):
    rows = [re.split(r"(?<!\\)\|", line.strip("|")) for line in page.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in row] for row in rows]


def test_the_page_lists_exactly_the_registered_series_with_their_types():
    """No series is missing from docs/metrics.md, and none is there that does not exist."""
    rows = table_rows((ROOT / "docs/metrics.md").read_text("utf-8"))
    assert registered() == {row[0].strip("`"): row[1] for row in rows}


def test_the_page_lists_exactly_the_labels_that_are_used():
    """Each row names the labels of its series; le and other parts of the format do not count."""
    metrics = Metrics(lambda: 0.0, "1")
    metrics.stream_opened("a", "x")
    metrics.frames_sent("a", "x", 1)
    metrics.pushed("a", 0.1)
    metrics.fetched("a", "changed", 0.1)
    metrics.sdk_added("a", lambda: True)
    metrics.config_applied("a")
    metrics.flags_in_use("a", 3, 1)
    metrics.answered("/x", "GET", 200, 0.1)
    metrics.config_requested("a", 200, 0.1)
    metrics.deliveries.endpoints(["ops"])
    metrics.deliveries.waiting("ops", 1, 0.1)
    metrics.deliveries.dropped("ops", "refused", 1)
    metrics.deliveries.delivers("ops", True)
    metrics.deliveries.lease_changed("ops", "taken")
    metrics.deliveries.recording(True)
    metrics.shared_cache.operation("look", "ok")
    metrics.shared_cache.polls("a", True)
    metrics.shared_cache.nodes(1)
    metrics.shared_cache.adopted("a", 0.1)
    used = {
        family.name + SUFFIXES.get(family.type, ""): {label for sample in family.samples for label in sample.labels}
        - {"le"}
        for family in metrics.collect()
    }
    rows = table_rows((ROOT / "docs/metrics.md").read_text("utf-8"))
    documented = {
        row[0].strip("`"): set(re.findall(r"`(\w+)`", re.sub(r"\([^)]*\)|:.*", "", row[2]))) - {"none"} for row in rows
    }
    assert used == documented


@pytest.mark.parametrize("word", [*OUTCOMES, *REFUSALS, *DROPS, *ATTEMPT_OUTCOMES, *DROP_REASONS])
def test_the_page_names_every_value_of_the_closed_labels(word):
    """An operator can look up each outcome and reason."""
    assert f"`{word}`" in (ROOT / "docs/metrics.md").read_text("utf-8")


@pytest.mark.parametrize("page", ["docs/operations.md", "docs/metrics.md"])
def test_every_option_that_a_page_names_exists(page):
    """A dotted option in the text is one of the schema."""
    text = (ROOT / page).read_text("utf-8")
    for option in set(re.findall(r"`((?:http|diag|log|upstream|tls)\.[a-z_.]+)(?::[^`]*)?`", text)):
        value = Settings()
        for name in option.split("."):
            value = getattr(value, name)


def headings(text):
    """The anchors of a page."""
    lines = [line for line in text.splitlines() if line.startswith("#")]
    return {re.sub(r"[^\w-]", "", line.lstrip("# ").lower().replace(" ", "-")) for line in lines}


PAGES = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    """Relative links name files, and anchors name headings, also those of other pages."""
    here = ROOT / page
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", here.read_text("utf-8")):
        name, _, anchor = target.partition("#")
        there = here.parent / name if name else here
        assert there.exists(), target
        assert not anchor or anchor in headings(there.read_text("utf-8")), target


LOG_LINES = [
    "{dropped} log lines were dropped here: the reader of the log, or its disk, was too slow",
    "only {now} files may be open, too few for {connections} connections",
    "event loop blocked for {lag:.1f} s",
    "reload refused, the old settings stay: {problem}",
    "reloaded, but these take a restart: {options}",
    "the SDK key {key} is invalid",
    "no config from {place}: {reason}; {state}",
    "SDK {sdk_id}: for {minutes} minutes {trouble}; {state}",
    "{count} of {all} flags fail, for some users or all of them: {shown}",
    "no flag fails any more",
    "limit of open files reached, new connections are closed",
    "a new config of {count} flags is in use",
    "webhook call accepted, fetching the config",
    "webhook call refused: {reason}",
    "webhook call repeated, no fetch needed",
    "answered {status} in {milliseconds:.1f} ms",
    "stream opened, {total} open",
    "stream closed, {total} open",
    "shutdown requested, draining {streams} streams",
    "degraded: {problem}",
    "resolved: {problem}",
    "endpoint {endpoint}: message {message_id} waits for {pause:.0f} s after attempt {number}: {reason}",
    "endpoint {endpoint}: message {message_id} given up after attempt {number}: {reason}",
    "endpoint {endpoint} accepts messages again",
    "endpoint {endpoint} cannot be called: {reason}",
    "the outbox cannot be written, changes are delivered once it can be: {reason}",
    "endpoint {endpoint}: the outbox cannot be read or written: {reason}",
    "the outbox is full: {count} messages are refused and will not be delivered",
    "{count} messages for endpoints that were removed are skipped",
    "exporter: batch {batch_id} waits for the next flush: {reason}",
    "exporter: the receiver refuses an event for good, which is set aside: {reason}",
    "the spool is full: {count} evaluations were dropped, the oldest first",
    "evaluations cannot be written, flags are served without it: {reason}",
    "{count} evaluations could not be written and are lost",
]


@pytest.mark.parametrize("line", LOG_LINES)
def test_log_lines_on_the_page_are_those_of_the_code(line):
    """The constant parts of a documented line occur in the page and in the source."""
    page = (ROOT / "docs/operations.md").read_text("utf-8")
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "gateway").rglob("*.py"))
    assert line in sources
    for part in re.split(r"\{[^}]*\}", line):
        assert part.strip(" :") in page


def test_the_settings_that_the_page_installs_are_good(tmp_path):
    """The file of the systemd section, with the variable that it names, is one that a service can start with."""
    page = (ROOT / "docs/operations.md").read_text("utf-8")
    (name,) = re.findall(r"install -m 0644 (\S+\.yml) /etc/flaggateway/", page)
    (variable,) = re.findall(r"# (CONFIGCAT_SDKS=\S+)\n", page)
    environ = dict([variable.split("=", 1)])
    loaded = load((ROOT / name).read_text("utf-8"), environ, exists=lambda path: (tmp_path / path).exists())
    assert () == loaded.problems
    assert ["shop"] == list(loaded.settings.sdks)


@pytest.fixture(scope="module")
def service():
    """The [Service] section; repeated directives do not occur in it."""
    parser = ConfigParser(interpolation=None, comment_prefixes=("#",), delimiters=("=",))
    parser.optionxform = str
    parser.read(UNIT, "utf-8")
    return parser["Service"]


@pytest.mark.parametrize(
    ("directive", "value"),
    [
        ("Type", "notify"),
        ("NotifyAccess", "main"),
        ("ExecReload", "/bin/kill -HUP $MAINPID"),
        ("WatchdogSec", "30"),
        ("Restart", "on-failure"),
        ("LimitNOFILE", str(FILE_CAP)),
        ("DynamicUser", "yes"),
        ("StateDirectory", "flaggateway"),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "tmpfs"),
        ("PrivateTmp", "yes"),
        ("PrivateDevices", "yes"),
        ("CapabilityBoundingSet", ""),
        ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX"),
        ("SystemCallFilter", "@system-service"),
        ("LockPersonality", "yes"),
        ("NoNewPrivileges", "yes"),
    ],
)
def test_the_unit_has_the_directives_that_matter(service, directive, value):
    """Notification, watchdog, reload and hardening are as documented."""
    assert value == service[directive]


def test_the_unit_starts_twistd_in_the_foreground_without_a_pid_file(service):
    """Daemonising would lose the process, and a pid file cannot be written on a read-only file system."""
    words = service["ExecStart"].split()
    assert words[0].endswith("/twistd")
    assert ["--nodaemon", "--pidfile=", "--logfile=-", "flaggateway"] == words[1:5]
    assert ["--config=/etc/flaggateway/flaggateway.yml"] == words[5:]


def test_the_unit_leaves_time_to_drain(service):
    """The stop timeout exceeds the default drain window by the ten seconds that the page promises."""
    assert int(service["TimeoutStopSec"]) >= Settings().http.sse.drain_window + 10


def test_systemd_accepts_the_unit(tmp_path):
    """The command ``systemd-analyze verify`` has no complaint once the program paths are ones that exist here."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd is not part of this machine")
    text = re.sub(r"/opt/flaggateway/bin/\w+", sys.executable, UNIT.read_text("utf-8"))
    copy = tmp_path / UNIT.name
    copy.write_text(text, "utf-8")
    verify = subprocess.run([analyze, "verify", str(copy)], capture_output=True, text=True, timeout=60, check=False)
    assert (0, "") == (verify.returncode, verify.stderr + verify.stdout)

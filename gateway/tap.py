"""What ``twistd flaggateway`` runs: its options, and ``makeService``, which reads the settings and builds.

Nothing is opened here: sockets, files and threads wait for ``Gateway.startService`` (twistd may fork in between).
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, ClassVar

from twisted.python import usage

from gateway.settings import SettingsFile

if TYPE_CHECKING:
    from gateway.app.service import Gateway


class Options(usage.Options):
    """Options of ``twistd flaggateway``; everything else is in the configuration file or the environment."""

    synopsis = "[options]"
    longdesc = (
        "Starts the flag gateway. Options come from a YAML file and from CONFIGCAT_... environment variables; "
        "`flaggateway check` shows what they amount to, docs/options.md lists them all."
    )
    optParameters: ClassVar[list[list[str | None]]] = [
        [
            "config",
            "c",
            None,
            "Configuration file; without it /etc/flaggateway/flaggateway.yml is read, where it exists.",
        ],
    ]


def makeService(options: Options) -> Gateway:
    """Return the gateway, built from the file and the environment but not started.

    Exits with status 1 after printing every problem when the settings cannot be used.
    """
    from twisted.internet import reactor

    from gateway.app.service import Gateway
    from gateway.garbage import collect_rarely
    from gateway.identity import IdentityError
    from gateway.telemetry import log_file_path
    from gateway.twisted_private import resolve_in_daemon_threads, use_monotonic_timers

    use_monotonic_timers(reactor)
    resolve_in_daemon_threads(reactor)

    file = SettingsFile(options["config"], os.environ)
    loaded = file.read()
    if loaded.settings is None:
        for problem in loaded.problems:
            print(f"flaggateway: {problem}", file=sys.stderr)
        print("flaggateway: not started; `flaggateway check` shows the same in colour", file=sys.stderr)
        raise SystemExit(1)
    try:
        gateway = Gateway(reactor, file, loaded, log_file_path(getattr(options, "parent", None)))
    except IdentityError as error:
        print(f"flaggateway: not started: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    reactor.callWhenRunning(collect_rarely)
    return gateway

"""``flaggateway run``: ``twistd --nodaemon flaggateway`` without a pid file, from any directory."""

import os
import sys

import click

from gateway.cli.options import settings_options, settings_sources


@click.command(short_help="Run the gateway in the foreground.")
@settings_options
def run() -> None:
    """Run the gateway in the foreground, logging to standard output.

    Ctrl-C and SIGTERM stop it gracefully; SIGHUP reads the settings again.
    """
    sources = settings_sources()
    os.environ.update(sources.environ())
    sys.argv = arguments(sources.config)
    from twisted.scripts import twistd

    twistd.run()


def arguments(config: str | None) -> list[str]:
    """Return the command line of twistd: no daemon, no pid file, log to standard output."""
    # Absolute, so that the path does not depend on the directory that twistd changes to.
    file = ["--config", os.path.abspath(config)] if config else []  # noqa: PTH100 - must not fail on odd paths
    return ["flaggateway", "--nodaemon", "--pidfile=", "--logfile=-", "flaggateway", *file]

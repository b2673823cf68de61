"""The command group.  Each command is a module and imports the rooms that it needs only when it runs."""

import click

from gateway import __version__
from gateway.cli.bundled_files import files
from gateway.cli.changes import changes
from gateway.cli.check import check
from gateway.cli.compare import compare
from gateway.cli.configs import configs
from gateway.cli.deliveries import deliveries
from gateway.cli.explain import explain
from gateway.cli.healthcheck import healthcheck
from gateway.cli.impact import impact
from gateway.cli.import_settings import import_settings
from gateway.cli.init import init
from gateway.cli.key import key
from gateway.cli.options import settings_options
from gateway.cli.password import password
from gateway.cli.run import run
from gateway.cli.schema import schema
from gateway.cli.status import status
from gateway.cli.streams import streams
from gateway.cli.tail import tail


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@settings_options
@click.version_option(__version__, prog_name="flaggateway")
def main() -> None:
    """A streaming gateway for feature flags.

    Settings come from a YAML file and from CONFIGCAT_... environment variables; the variables have priority.
    """


for _command in (
    run, init, import_settings, compare, check, healthcheck, schema, password, key, status, changes, streams, tail,
    impact, explain, deliveries, configs, files,
):  # fmt: skip
    main.add_command(_command)

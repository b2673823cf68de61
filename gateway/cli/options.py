"""Options shared by several commands: the settings file and the environment file of the gateway."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from attrs import frozen

from gateway.cli.environment_file import EnvironmentFileError, read_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.settings import SettingsFile

UNIT_FOLDER = Path("/etc/flaggateway")
UNIT_ENVIRONMENT = UNIT_FOLDER / "environment"  # the EnvironmentFile of etc/systemd/flaggateway.service
_META = "gateway.cli.options"

Command = TypeVar("Command", bound="Callable[..., Any]")


@frozen
class SettingsSources:
    """The settings file and the environment file that the command line names; None for the defaults."""

    config: str | None
    environment_file: str | None

    def environ(self) -> Mapping[str, str]:
        """Return the variables of the environment file and of this process, which have priority.

        Without ``--environment-file`` the file of the systemd unit is read if it exists and the settings file is the
        unit's; if it may not be read, a warning says so.

        :raises click.ClickException: if the file that the command line names cannot be read, or has a faulty line.
        """
        path = Path(self.environment_file) if self.environment_file else self._default_environment()
        if path is None:
            return os.environ
        try:
            return read_environment(path) | dict(os.environ)
        except PermissionError as error:
            if self.environment_file:
                raise click.FileError(str(path), error.strerror or "") from None
            click.echo(f"{path} cannot be read, so its variables are missing here; run the command as root", err=True)
            return os.environ
        except OSError as error:
            raise click.FileError(str(path), error.strerror or type(error).__name__) from None
        except EnvironmentFileError as error:
            raise click.ClickException(f"{path}: {error}") from None

    def file(self) -> SettingsFile:
        """Return the settings file, to be read with ``environ()``."""
        from gateway.settings import SettingsFile

        return SettingsFile(self.config, self.environ())

    def _default_environment(self) -> Path | None:
        from gateway.settings import find_file

        found = find_file(self.config)
        unit = found is None or Path(found).parent == UNIT_FOLDER
        return UNIT_ENVIRONMENT if unit and os.path.lexists(UNIT_ENVIRONMENT) else None


def settings_options(command: Command) -> Command:
    """Add ``-c`` and ``--environment-file``; given to a group and to its command, those of the command are used."""
    for option in (
        click.option(
            "--environment-file",
            metavar="FILE",
            expose_value=False,
            callback=_remember,
            help=f"File of variables as systemd reads it; by default {UNIT_ENVIRONMENT} with the settings of the unit.",
        ),
        click.option(
            "-c",
            "--config",
            metavar="FILE",
            expose_value=False,
            callback=_remember,
            help=f"Settings file; without it {UNIT_FOLDER}/flaggateway.yml is read if it exists.",
        ),
    ):
        command = option(command)
    return command


def _remember(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.meta[f"{_META}.{parameter.name}"] = value


def settings_sources() -> SettingsSources:
    """Return what the options of the running command and of its groups name."""
    meta = click.get_current_context().meta
    return SettingsSources(meta.get(f"{_META}.config"), meta.get(f"{_META}.environment_file"))

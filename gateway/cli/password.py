"""``flaggateway password``: print the hash of a password for ``diag.users``."""

import os
import sys

import click

LINE_LIMIT = 64 * 1024  # bytes of standard input; more is no password
SHORTEST = 8  # characters; NIST SP 800-63B


@click.command(short_help="Print the hash of a password for diag.users.")
def password() -> None:
    """Print the hash of a password, for `diag.users` in the settings file.

    Prompts for the password twice; from a pipe or a file it reads the first line of standard input.
    """
    from gateway.text import PASSWORD_BYTES, SALT_BYTES, hash_password

    given = _typed() if sys.stdin.isatty() else _piped()
    if len(given) < SHORTEST:
        raise click.ClickException(f"the password has fewer than {SHORTEST} characters")
    if len(given.encode("utf-8", "surrogatepass")) > PASSWORD_BYTES:
        raise click.ClickException(f"the password has more than {PASSWORD_BYTES} bytes in UTF-8")
    click.echo(hash_password(given, os.urandom(SALT_BYTES)))


def _typed() -> str:
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))


def _piped() -> str:
    line = sys.stdin.buffer.readline(LINE_LIMIT).rstrip(b"\r\n")
    try:
        return line.decode()
    except UnicodeDecodeError:
        raise click.ClickException("the password on standard input is not UTF-8") from None

"""``flaggateway key``: make a key of a caller, and its hash for ``http.auth.keys``."""

import os

import click

from gateway.cli.output import print_json


@click.command(short_help="Make a key of a caller and its hash.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
def key(*, as_json: bool) -> None:
    """Make a key of a caller, and the hash of it for `http.auth.keys` in the settings file.

    The key is shown here only: give it to the caller.  The gateway needs the hash alone.
    """
    from gateway.text import KEY_BYTES, hash_caller_key, make_caller_key

    made = make_caller_key(os.urandom(KEY_BYTES))
    shown = {"key": made, "hash": hash_caller_key(made.encode())}
    if as_json:
        print_json(shown)
    else:
        click.echo("\n".join(f"{name}: {text}" for name, text in shown.items()))

"""The command line: `secure-delivery --help`.

Knows: which command is where. Must not know: how anything is done; commands call the engine and the gate.
"""

from __future__ import annotations

import sys

import typer

from ..gate.errors import SecureDeliveryError
from . import (
    accounts,
    applications,
    files,
    inspect,
    jobs,
    plugin_new,
    plugins,
    policies,
    preview,
    renditions,
    security,
    serve,
    storage,
    transform,
    usage,
    vault,
    webhooks,
    worker,
)
from .output import complain

__all__ = ["main"]

cli = typer.Typer(
    name="secure-delivery",
    help="File security and file processing that a Python team owns.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
cli.command("serve")(serve.serve)
cli.command("worker")(worker.worker)
cli.add_typer(applications.app, name="app")
cli.command("sign")(policies.sign)
cli.command("verify")(policies.verify)
cli.command("transform")(transform.transform)
cli.command("explain")(policies.explain_url)
cli.add_typer(policies.whitelist, name="whitelist")
cli.command("store")(files.store)
cli.command("restore")(files.restore)
cli.add_typer(files.app, name="files")
cli.add_typer(storage.app, name="storage")
cli.add_typer(webhooks.app, name="webhook")
cli.add_typer(vault.app, name="vault")
cli.add_typer(accounts.user, name="user")
cli.add_typer(accounts.token, name="token")
cli.add_typer(accounts.audit, name="audit")
cli.add_typer(renditions.app, name="renditions")
cli.command("preview")(preview.preview)
cli.add_typer(jobs.app, name="jobs")
cli.command("usage")(usage.usage)
cli.command("plugins")(plugins.plugins)
cli.add_typer(plugin_new.app, name="plugin")
cli.command("doctor")(inspect.doctor)
cli.command("security")(security.security)


def main() -> None:
    """Run a command. Exit status: 0 done or allowed, 1 refused or something is wrong, 2 wrong use or configuration."""
    try:
        cli()
    except SecureDeliveryError as fault:
        complain(str(fault))
        sys.exit(2)

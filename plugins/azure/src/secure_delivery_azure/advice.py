"""What has to be set up at Azure: the least rights, and the rule for browsers.

Knows: the letters of shared access signatures, the forms `az` reads. Must not know: requests.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from .options import Options

_EXPOSED = "Content-Type Content-Length Content-Range Content-Disposition ETag"


def policy(options: Options) -> str:
    """A shared access signature for each container that permits what is needed and can be revoked by its policy."""
    letters = "cw" if options.write_only else "rcwd"
    lines = [
        "# c: write new blobs, w: replace them" + ("" if options.write_only else ", r: read, d: delete"),
        "# Delete the policy to revoke the signature. Give the printed text as sas_token.",
    ]
    for container in options.containers:
        where = f"--account-name {options.account}"
        lines += [
            f"az storage container policy create {where} --container-name {container} --name secure-delivery "
            f"--permissions {letters} --expiry YYYY-MM-DD",
            f"az storage container generate-sas {where} --name {container} --policy-name secure-delivery --https-only "
            "--output tsv",
        ]
    if len(options.containers) > 1:
        lines.append("# One signature is for one container: set up a storage for each, or give an account_key.")
    return "\n".join([*lines, ""])


def cors(options: Options, origins: Sequence[str]) -> str:
    """The rule for browsers, which only fetch: uploads go to the server."""
    allowed = " ".join(shlex.quote(origin) for origin in origins)
    return (
        f"az storage cors add --account-name {options.account} --services b --methods GET HEAD "
        f"--origins {allowed} --allowed-headers Range --exposed-headers {_EXPOSED} --max-age 3600\n"
    )

"""What has to be set up at Google: the least rights, and the rule for browsers.

Knows: names of permissions, the forms `gcloud` reads. Must not know: requests.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from .options import Options


def policy(options: Options) -> str:
    """A custom role for `gcloud iam roles create`, and the command that grants it."""
    rights = {"storage.objects.create": "write new objects", "storage.objects.delete": "replace and delete objects"}
    if not options.write_only:
        rights["storage.objects.get"] = "read objects"
        rights["storage.objects.list"] = "be told 404, not 403, for an object that is not there"
    if options.access:
        rights["storage.objects.setIamPolicy"] = "set the access of an object"
    lines = [
        "# role.yaml: gcloud iam roles create secureDelivery --project PROJECT --file role.yaml",
        "title: Secure delivery",
        "stage: GA",
        "includedPermissions:",
        *(f"- {right}  # {why}" for right, why in rights.items()),
    ]
    member = f"serviceAccount:{options.account.email}"
    grants = [
        f"# gcloud storage buckets add-iam-policy-binding gs://{bucket} --member={member} "
        "--role=projects/PROJECT/roles/secureDelivery"
        for bucket in options.buckets
    ]
    return "\n".join([*lines, *grants, ""])


def cors(origins: Sequence[str]) -> str:
    """The rule for `gcloud storage buckets update gs://BUCKET --cors-file`. Browsers only fetch: uploads go to the server."""
    rule = {
        "origin": list(origins),
        "method": ["GET", "HEAD"],
        "responseHeader": ["Content-Type", "Content-Length", "Content-Range", "Content-Disposition", "ETag", "Range"],
        "maxAgeSeconds": 3600,
    }
    return json.dumps([rule], indent=2)

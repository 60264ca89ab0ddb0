"""What has to be set up at the provider: the least rights of the user, and the rules for browsers.

Knows: the JSON of both. Must not know: requests.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from .options import S3Options


def least_rights(options: S3Options) -> str:
    """The identity policy of the user whose access key is used (IAM JSON, version 2012-10-17)."""
    actions = ["s3:PutObject", "s3:AbortMultipartUpload"]
    if options.public:
        actions.append("s3:PutObjectAcl")
    if not options.write_only:
        actions += ["s3:GetObject", "s3:DeleteObject"]
    area = _area(options.region)
    statements: list[dict[str, object]] = [
        {
            "Sid": "SecureDeliveryObjects",
            "Effect": "Allow",
            "Action": actions,
            "Resource": [f"arn:{area}:s3:::{bucket}/*" for bucket in options.buckets],
        }
    ]
    if options.kms_key:
        named = (
            options.kms_key
            if options.kms_key.startswith("arn:")
            else f"arn:{area}:kms:{options.region}:*:key/{options.kms_key}"
        )
        # Decrypt also for writing: S3 reads parts back to complete them.
        rights = ["kms:GenerateDataKey", "kms:Decrypt"]
        statements.append({"Sid": "SecureDeliveryKey", "Effect": "Allow", "Action": rights, "Resource": [named]})
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, indent=2)


def cors_rules(options: S3Options, origins: Sequence[str]) -> str:
    """The rules of a bucket, as the console takes them: direct uploads of parts and downloads from these origins."""
    methods = ["PUT"] if options.write_only else ["GET", "HEAD", "PUT"]
    rule = {
        "AllowedOrigins": list(origins),
        "AllowedMethods": methods,
        "AllowedHeaders": [
            "Content-MD5",
            "Content-Type",
            "Content-Disposition",
            "Range",
            "If-Match",
            "If-None-Match",
            "x-amz-*",
        ],
        "ExposeHeaders": ["ETag", "Content-Range", "Content-Length", "Content-Disposition", "Accept-Ranges"],
        "MaxAgeSeconds": 3000,
    }
    return json.dumps([rule], indent=2)


def _area(region: str) -> str:
    """The partition of a region, which its ARNs begin with."""
    for start, area in (("cn-", "aws-cn"), ("us-gov-", "aws-us-gov")):
        if region.startswith(start):
            return area
    return "aws"

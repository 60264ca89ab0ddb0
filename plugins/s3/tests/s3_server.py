"""A server that speaks S3 over a socket, strict where clients go wrong and failing on demand. For tests.

It verifies signatures of version 4 (headers and presigned URLs) by the published description, rights, regions, clocks and
checksums; it keeps objects in memory and a record of every request. It must not import anything of the plugin, nor botocore.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import socket
import ssl
import struct
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, quote, unquote
from xml.etree import ElementTree
from xml.sax.saxutils import escape


@dataclass
class Blob:
    data: bytes
    etag: str
    headers: Mapping[str, str] = field(default_factory=dict)
    size: int = 0


@dataclass
class Upload:
    bucket: str
    key: str
    headers: Mapping[str, str]
    parts: dict[int, Blob] = field(default_factory=dict)


@dataclass
class Fault:
    """What goes wrong with the next `times` requests of an operation (`*` for any).

    `error`: this status and code instead of an answer. `silent`: the connection is reset before the request is carried out.
    `lost`: after it was. `cut`: so many bytes (`at`) of the body, then a reset. `hold`: no answer until the server ends.
    `error200`: status 200 and an error as body. `redirect`: to `at_url`. `rubbish`: something that is no XML.
    `late`: carried out when an abort came, or a moment later.
    """

    operation: str
    how: str = "error"
    times: int = 1
    status: int = 503
    code: str = "SlowDown"
    at: int = 0
    at_url: str = ""
    skip: int = 0


@dataclass
class Seen:
    method: str
    operation: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    size: int
    status: int = 0


class Refused(Exception):
    def __init__(self, status: int, code: str, headers: Mapping[str, str] | None = None, **more: str) -> None:
        super().__init__(code)
        self.status, self.code, self.headers, self.more = status, code, headers or {}, more


class S3Server:
    """`users`: secrets by access key id. `buckets`: regions by name. `denied`: operations that the policy forbids,
    `PutObjectAcl` for those that come with an ACL."""

    def __init__(
        self,
        users: Mapping[str, str],
        buckets: Mapping[str, str],
        *,
        domain: str = "",
        smallest_part: int = 5 << 20,
        keep: bool = True,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.users, self.buckets, self.domain = dict(users), dict(buckets), domain
        self.smallest_part, self.keep = smallest_part, keep
        self.denied: set[str] = set()
        self.tokens: set[str] = set()
        self.clock_ahead = 0.0  # seconds
        self.acls_disabled = False
        self.redirects_regions = False
        self.ignores_match = False
        self.objects: dict[tuple[str, str], Blob] = {}
        self.uploads: dict[str, Upload] = {}
        self.faults: list[Fault] = []
        self.seen: list[Seen] = []
        self.connections = 0
        self.released = threading.Event()
        self.aborted = threading.Event()
        self.lock = threading.Lock()
        server = self

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def get_request(self) -> Any:
                accepted, address = super().get_request()
                server.connections += 1
                if tls is not None:
                    accepted.settimeout(5)
                    accepted = tls.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False)
                return accepted, address

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Clients that hang up are part of the tests."""

        self._server = Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"s3": self}))
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def operations(self) -> list[str]:
        return [one.operation for one in self.seen]

    def fail(self, operation: str, **fault: Any) -> None:
        self.faults.append(Fault(operation, **fault))

    def fault_for(self, operation: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.operation in (operation, "*") and fault.times > 0:
                    if fault.skip:
                        fault.skip -= 1
                        continue
                    fault.times -= 1
                    return fault
        return None

    def __enter__(self) -> S3Server:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    s3: S3Server

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the name is the base class's
        """Nothing is printed."""

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815 - the names are the base class's

    def _answer(self) -> None:
        raw, _, query = self.path.partition("?")
        self._raw, self._pairs = raw, parse_qsl(query, keep_blank_values=True)
        self._query = dict(self._pairs)
        self._body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        bucket, key = self._place(raw)
        operation = self._operation(key)
        headers = {name.lower(): value for name, value in self.headers.items()}
        seen = Seen(self.command, operation, unquote(raw), self._query, headers, len(self._body))
        self.s3.seen.append(seen)
        fault = self.s3.fault_for(operation)
        try:
            if fault is not None and self._fails(fault):
                return
            self._admit(bucket, key, operation)
            with self.s3.lock:
                answer = getattr(self, f"_do_{operation.lower()}", self._unknown)(bucket, key)
            if fault is not None and fault.how == "lost":
                self._reset()
                return
            seen.status = answer[0]
            self._send(*answer, cut=fault.at if fault is not None and fault.how == "cut" else None)
        except Refused as refused:
            seen.status = refused.status
            self._refuse(refused)

    # -- what goes wrong

    def _fails(self, fault: Fault) -> bool:
        if fault.how == "error":
            raise Refused(fault.status, fault.code)
        if fault.how == "silent":
            self._reset()
        elif fault.how == "hold":
            self.s3.released.wait(30)
            self._reset()
        elif fault.how == "error200":
            self._send(200, {"Content-Type": "application/xml"}, b"\n  " + _error(fault.code))
        elif fault.how == "rubbish":
            self._send(fault.status, {"Content-Type": "text/html"}, b"<html><p>Welcome</html>" * fault.at)
        elif fault.how == "redirect":
            self._send(fault.status, {"Location": fault.at_url}, b"")
        else:
            if fault.how == "late":
                self.s3.aborted.wait(0.3)
            return False
        return True

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.rfile.close()
        self.wfile.close()
        self.connection.close()

    def _refuse(self, refused: Refused) -> None:
        body = b"" if self.command == "HEAD" else _error(refused.code, refused.more)
        self._send(refused.status, {"Content-Type": "application/xml", **refused.headers}, body)

    def _send(self, status: int, headers: Mapping[str, str], body: bytes, cut: int | None = None) -> None:
        self.send_response_only(status)
        self.send_header("Date", formatdate(time.time() + self.s3.clock_ahead, usegmt=True))
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers and status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body if cut is None else body[:cut])
        if cut is not None:
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True

    # -- whose request it is, and whether it may pass

    def _place(self, raw: str) -> tuple[str, str]:
        host = self.headers.get("Host", "").partition(":")[0]
        path = unquote(raw).lstrip("/")
        if self.s3.domain and host.endswith(f".{self.s3.domain}"):
            return host.removesuffix(f".{self.s3.domain}"), path
        bucket, _, key = path.partition("/")
        return bucket, key

    def _operation(self, key: str) -> str:
        has = self._query.__contains__
        if not key:
            return f"{self.command}Bucket"
        if has("uploadId"):
            names = {
                "PUT": "UploadPart",
                "POST": "CompleteMultipartUpload",
                "DELETE": "AbortMultipartUpload",
                "GET": "ListParts",
            }
            return names.get(self.command, "Unknown")
        if has("uploads") and self.command == "POST":
            return "CreateMultipartUpload"
        names = {"GET": "GetObject", "HEAD": "HeadObject", "PUT": "PutObject", "DELETE": "DeleteObject"}
        return names.get(self.command, "Unknown")

    def _admit(self, bucket: str, key: str, operation: str) -> None:
        public = (blob := self.s3.objects.get((bucket, key))) is not None and blob.headers.get("x-amz-acl") == "public-read"
        nobody = "Authorization" not in self.headers and "X-Amz-Signature" not in self._query
        if nobody and public and operation in ("GetObject", "HeadObject"):
            return
        region = self._signed()
        if bucket not in self.s3.buckets:
            raise Refused(404, "NoSuchBucket", BucketName=bucket)
        real = self.s3.buckets[bucket]
        if region != real:
            if self.s3.redirects_regions:
                raise Refused(301, "PermanentRedirect", {"x-amz-bucket-region": real}, Endpoint=f"{bucket}.s3.{real}.example")
            raise Refused(400, "AuthorizationHeaderMalformed", {"x-amz-bucket-region": real}, Region=real)
        if operation in self.s3.denied or ("x-amz-acl" in self.headers and "PutObjectAcl" in self.s3.denied):
            raise Refused(403, "AccessDenied")
        if self.s3.acls_disabled and "x-amz-acl" in self.headers:
            raise Refused(400, "AccessControlListNotSupported")
        md5 = self.headers.get("Content-MD5")
        if md5 and md5 != base64.b64encode(hashlib.md5(self._body).digest()).decode():
            raise Refused(400, "BadDigest")

    def _signed(self) -> str:
        """Verify the signature (AWS documentation, "Authenticating Requests", version 4); the region it is for."""
        presigned = "X-Amz-Signature" in self._query
        if presigned:
            key_id, date, region, service, end = self._query["X-Amz-Credential"].split("/")
            names, signature = self._query["X-Amz-SignedHeaders"], self._query["X-Amz-Signature"]
            stamp, token = self._query["X-Amz-Date"], self._query.get("X-Amz-Security-Token")
            digest = "UNSIGNED-PAYLOAD"
        else:
            pattern = (
                r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d+)/([^/]+)/([^/]+)/([^,]+), ?SignedHeaders=([^,]+), ?Signature=(\w+)"
            )
            found = re.fullmatch(pattern, self.headers.get("Authorization", ""))
            if found is None:
                raise Refused(403, "AccessDenied")
            key_id, date, region, service, end, names, signature = found.groups()
            stamp, token = self.headers["x-amz-date"], self.headers.get("x-amz-security-token")
            digest = self.headers["x-amz-content-sha256"]
        if key_id not in self.s3.users:
            raise Refused(403, "InvalidAccessKeyId", AWSAccessKeyId=key_id)
        if self.s3.tokens and token not in self.s3.tokens:
            raise Refused(400, "InvalidToken", **{"Token-0": str(token)})
        self._in_time(stamp, presigned)
        scope = f"{date}/{region}/{service}/{end}"
        canonical = self._canonical(names, digest)
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        key = f"AWS4{self.s3.users[key_id]}".encode()
        for word in (date, region, service, end):
            key = hmac.digest(key, word.encode(), "sha256")
        if (service, end) != ("s3", "aws4_request") or hmac.digest(key, text.encode(), "sha256").hex() != signature:
            more = {
                "AWSAccessKeyId": key_id,
                "StringToSign": text,
                "SignatureProvided": signature,
                "CanonicalRequest": canonical,
            }
            raise Refused(403, "SignatureDoesNotMatch", **more)
        if digest.startswith("STREAMING"):
            raise Refused(501, "NotImplemented")
        if digest not in ("UNSIGNED-PAYLOAD", hashlib.sha256(self._body).hexdigest()):
            raise Refused(400, "XAmzContentSHA256Mismatch")
        return region

    def _in_time(self, stamp: str, presigned: bool) -> None:
        signed = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        now = time.time() + self.s3.clock_ahead
        if presigned:
            if now > signed + int(self._query["X-Amz-Expires"]) or now < signed - 900:
                raise Refused(403, "AccessDenied")
        elif abs(now - signed) > 900:
            raise Refused(403, "RequestTimeTooSkewed", MaxAllowedSkewMilliseconds="900000")

    def _canonical(self, names: str, digest: str) -> str:
        signed = names.split(";")
        unsigned = [name.lower() for name in self.headers if name.lower().startswith("x-amz-") and name.lower() not in signed]
        if unsigned or "host" not in signed:
            raise Refused(403, "AccessDenied", HeadersNotSigned=",".join(unsigned))
        pairs = sorted((_escape(name), _escape(value)) for name, value in self._pairs if name != "X-Amz-Signature")
        query = "&".join(f"{name}={value}" for name, value in pairs)
        headers = "".join(f"{name}:{' '.join((self.headers.get(name) or '').split())}\n" for name in signed)
        path = quote(unquote(self._raw), safe="/-_.~")
        return "\n".join([self.command, path, query, headers, names, digest])

    # -- what it does: status, headers, body

    def _unknown(self, bucket: str, key: str) -> tuple[int, dict[str, str], bytes]:
        raise Refused(405, "MethodNotAllowed")

    def _do_getobject(self, bucket: str, key: str) -> tuple[int, dict[str, str], bytes]:
        blob = self.s3.objects.get((bucket, key))
        if blob is None:
            raise Refused(404, "NoSuchKey", Key=key)
        wanted = self.headers.get("If-Match")
        if wanted and wanted != blob.etag and not self.s3.ignores_match:
            raise Refused(412, "PreconditionFailed")
        headers = {"ETag": blob.etag, "Content-Type": blob.headers.get("content-type", ""), "Accept-Ranges": "bytes"}
        for name in ("content-disposition", "cache-control", "content-language", "expires"):
            if name in blob.headers:
                headers[name.title()] = blob.headers[name]
        for name in ("content-type", "content-disposition", "cache-control"):
            if f"response-{name}" in self._query:
                headers[name.title()] = self._query[f"response-{name}"]
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if found is None:
            return 200, headers, blob.data
        start, size = int(found[1]), len(blob.data)
        end = min(size, int(found[2]) + 1) if found[2] else size
        if start >= size:
            raise Refused(416, "InvalidRange", {"Content-Range": f"bytes */{size}"})
        return 206, {**headers, "Content-Range": f"bytes {start}-{end - 1}/{size}"}, blob.data[start:end]

    _do_headobject = _do_getobject

    def _blob(self) -> Blob:
        etag = f'"{hashlib.md5(self._body).hexdigest()}"'
        headers = {name.lower(): value for name, value in self.headers.items()}
        return Blob(self._body if self.s3.keep else b"", etag, headers, len(self._body))

    def _do_putobject(self, bucket: str, key: str) -> tuple[int, dict[str, str], bytes]:
        blob = self.s3.objects[bucket, key] = self._blob()
        return 200, {"ETag": blob.etag}, b""

    def _do_deleteobject(self, bucket: str, key: str) -> tuple[int, dict[str, str], bytes]:
        self.s3.objects.pop((bucket, key), None)
        return 204, {}, b""

    def _do_createmultipartupload(self, bucket: str, key: str) -> tuple[int, dict[str, str], bytes]:
        name = f"upload-{secrets.token_hex(8)}"
        self.s3.uploads[name] = Upload(bucket, key, self._blob().headers)
        return 200, {}, f"<InitiateMultipartUploadResult><UploadId>{name}</UploadId></InitiateMultipartUploadResult>".encode()

    def _upload(self, bucket: str, key: str) -> Upload:
        upload = self.s3.uploads.get(self._query["uploadId"])
        if upload is None or (upload.bucket, upload.key) != (bucket, key):
            raise Refused(404, "NoSuchUpload")
        return upload

    def _do_uploadpart(self, bucket: str, key: str) -> tuple[int, dict[str, str], bytes]:
        blob = self._upload(bucket, key).parts[int(self._query["partNumber"])] = self._blob()
        return 200, {"ETag": blob.etag}, b""

    def _do_completemultipartupload(self, bucket: str, key: str) -> tuple[int, dict[str, str], bytes]:
        upload = self._upload(bucket, key)
        root = ElementTree.fromstring(self._body)
        listed = [(int(part.findtext("{*}PartNumber", "0")), part.findtext("{*}ETag", "")) for part in root.findall("{*}Part")]
        if any(number not in upload.parts or upload.parts[number].etag != etag for number, etag in listed):
            raise Refused(400, "InvalidPart")
        parts = [upload.parts[number] for number, _ in listed]
        if any(part.size < self.s3.smallest_part for part in parts[:-1]):
            raise Refused(400, "EntityTooSmall")
        sums = b"".join(bytes.fromhex(part.etag.strip('"')) for part in parts)
        etag = f'"{hashlib.md5(sums).hexdigest()}-{len(parts)}"'
        data = b"".join(part.data for part in parts)
        self.s3.objects[bucket, key] = Blob(data, etag, upload.headers, sum(part.size for part in parts))
        del self.s3.uploads[self._query["uploadId"]]
        answer = f"<CompleteMultipartUploadResult><ETag>{escape(etag)}</ETag></CompleteMultipartUploadResult>"
        return 200, {"Content-Type": "application/xml"}, answer.encode()

    def _do_abortmultipartupload(self, bucket: str, key: str) -> tuple[int, dict[str, str], bytes]:
        self.s3.aborted.set()
        self._upload(bucket, key)
        del self.s3.uploads[self._query["uploadId"]]
        return 204, {}, b""


def _escape(text: str) -> str:
    return quote(text, safe="-_.~")


def _error(code: str, more: Mapping[str, str] | None = None) -> bytes:
    """As Amazon does it, with everything that a client must not pass on."""
    fields = {
        "Code": code,
        "Message": "words of the provider",
        **(more or {}),
        "RequestId": "4442587FB7D0A2F9",
        "HostId": "host",
    }
    inside = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in fields.items())
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{inside}</Error>'.encode()

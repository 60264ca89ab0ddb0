"""How the official clients that are not driven here speak: requests as their sources make them.

Each `Dialect` is one way of uploading a file. `$NAMES` stand for values that a run fills in. A body is a text (JSON), or the
fields of a form. Sources: filestack-ruby 2.9 and 2.2, filestack-php 2.1, filestack-go, filestack-java 1.0, filestack-swift 2.8.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from string import Template

MB = 1 << 20
Body = str | Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Dialect:
    """Bodies of the four calls, and how parts are cut and sent."""

    name: str
    headers: Sequence[str]
    start: Body
    upload: Body
    complete: Body
    part: int  # bytes
    put: Sequence[str]  # headers of a part beside those that the answer of `upload` asks for
    chunk: int = 0  # bytes; 0 means that parts are not sent in pieces
    commit: Body = ""
    each: str = ""  # what `$PARTS` is made of
    between: str = ","
    backwards: bool = False  # parts are named in the order in which they happened to arrive
    form: str = ""  # how fields of a form are written: the client
    no_first_offset: bool = False  # the offset of a part's first chunk is left out

    def pieces(self, size: int) -> Iterator[tuple[int, int, int]]:
        """Part number, offset in the part and bytes of everything that is sent."""
        for number, start in enumerate(range(0, size, self.part), 1):
            length = min(self.part, size - start)
            step = self.chunk or length
            for offset in range(0, length, step):
                yield number, offset, min(step, length - offset)

    def body(self, body: Body, values: Mapping[str, object]) -> tuple[list[str], bytes]:
        """Header lines and bytes of one call."""
        if isinstance(body, str):
            return ["Content-Type: application/json"], Template(body).substitute(values).encode()
        fields = [(name, Template(text).substitute(values)) for name, text in body]
        boundary = "b0undary0f0ne"
        written = b"".join(f"--{boundary}\r\n{_FORMS[self.form](name, text)}\r\n".encode() for name, text in fields)
        return [f"Content-Type: multipart/form-data; boundary={boundary}"], written + f"--{boundary}--\r\n".encode()


def _guzzle(name: str, text: str) -> str:
    if name == "files":  # an empty file, so that the form is one in parts
        head = (
            f'Content-Disposition: form-data; name="files"; filename="{text}"\r\nContent-Length: 0\r\nContent-Type: image/jpeg'
        )
        return f"{head}\r\n\r\n"
    return f'Content-Disposition: form-data; name="{name}"\r\nContent-Length: {len(text.encode())}\r\n\r\n{text}'


def _okhttp(name: str, text: str) -> str:
    head = f'Content-Disposition: form-data; name="{name}"\r\nContent-Transfer-Encoding: binary'
    return f"{head}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(text.encode())}\r\n\r\n{text}"


def _unirest(name: str, text: str) -> str:
    if name == "file":
        return f'Content-Disposition: form-data; name="file"; filename="{text}"\r\nContent-Type: text/plain\r\n\r\n'
    return f'Content-Disposition: form-data; name="{name}"\r\n\r\n{text}'


_FORMS = {"guzzle": _guzzle, "okhttp": _okhttp, "unirest": _unirest}

_KEYS = '"uri":"$URI","region":"$REGION","upload_id":"$ID"'
_SIGNED = '"policy":"$P","signature":"$S"'
_NAMED = '"filename":"$NAME","mimetype":"image/jpeg","size":$SIZE'
_FORM_KEYS = [("uri", "$URI"), ("region", "$REGION"), ("upload_id", "$ID")]
_FORM_SIGNED = [("policy", "$P"), ("signature", "$S")]
_RUBY = [
    "User-Agent: filestack-ruby 2.9.4", "Filestack-Source: Ruby-2.9.4", "Accept-Encoding: application/json", "Accept: */*",
]  # fmt: skip
_OLD_RUBY = ["User-Agent: filestack-ruby 2.2.1", "Filestack-Source: Ruby-2.2.1", "Accept: */*; q=0.5, application/xml"]
_PHP = ["User-Agent: filestack-php-2.1.3", "Filestack-Source: PHP-2.1.3"]
_GO = ["User-Agent: Go-http-client/1.1", "Accept-Encoding: gzip"]
_JAVA = [
    "Filestack-Source: Java-1.0.1", "User-Agent: filestack-java 1.0.1", "Accept-Encoding: gzip",
]  # fmt: skip
_SWIFT = ["User-Agent: FilestackSDK/2.8 CFNetwork/1220.1 Darwin/20.3.0", "Accept: */*", "Filestack-Source: Swift-2.8.0"]
_CURL_PUT = ["Content-Type: application/x-www-form-urlencoded", "Expect: 100-continue", "Accept: */*"]  # libcurl's own
_EACH = '{"part_number":$PART,"etag":$ETAG}'  # the ETag as a JSON text, quotes and all
_PHP_UPLOAD = [
    ("apikey", "$K"), *_FORM_KEYS, ("part", "$PART"), ("store_location", "s3"), ("md5", "$MD5"), ("size", "$BYTES"),
]  # fmt: skip
_PHP_START = [
    ("apikey", "$K"), ("filename", "$NAME"), ("mimetype", "image/jpeg"), ("size", "$SIZE"), ("store_location", "s3"),
    ("multipart", "1"), ("files", "$NAME"), *_FORM_SIGNED,
]  # fmt: skip
_PHP_COMPLETE = [
    ("apikey", "$K"), *_FORM_KEYS, ("size", "$SIZE"), ("filename", "$NAME"), ("mimetype", "image/jpeg"),
    ("store_location", "s3"), ("parts", "$PARTS"),
]  # fmt: skip
_JAVA_BASE = [
    ("mimetype", "image/jpeg"), ("store_location", "S3"), ("filename", "$NAME"), ("apikey", "$K"), *_FORM_SIGNED,
]  # fmt: skip
_OLD_RUBY_START = [
    ("apikey", "$K"), ("filename", "$NAME"), ("mimetype", "image/jpeg"), ("size", "$SIZE"), ("store_location", "s3"),
    ("file", "$NAME"), ("options", ""), ("multipart", "true"), *_FORM_SIGNED,
]  # fmt: skip
_SWIFT_STORE = '"store":{"location":"S3","access":"private"}'

DIALECTS: tuple[Dialect, ...] = (
    Dialect(
        "ruby", _RUBY,
        start=f'{{"apikey":"$K",{_NAMED},"store":{{"location":"S3"}},"fii":false,{_SIGNED}}}',
        upload=f'{{"apikey":"$K","part":$PART,"size":$BYTES,"md5":"$MD5",{_KEYS},"store":{{"location":"S3"}}}}',
        complete=f'{{"apikey":"$K",{_KEYS},{_NAMED},"store":{{"location":"S3"}},"parts":[$PARTS]}}',
        part=8 * MB, put=_CURL_PUT, each=_EACH,
    ),
    Dialect(
        "ruby, intelligently", _RUBY,
        start=f'{{"apikey":"$K",{_NAMED},"store":{{"location":"S3"}},"fii":true,{_SIGNED}}}',
        upload=f'{{"apikey":"$K","part":$PART,"size":$BYTES,"md5":"$MD5",{_KEYS},"store":{{"location":"S3"}},"offset":$OFFSET,'
        '"fii":true}',
        commit=f'{{"apikey":"$K",{_KEYS},"size":$SIZE,"part":$PART,"location_url":"$WHERE","store":{{"location":"S3"}}}}',
        complete=f'{{"apikey":"$K",{_KEYS},{_NAMED},"store":{{"location":"S3"}},"fii":true}}',
        part=8 * MB, put=_CURL_PUT, chunk=MB // 2,
    ),
    Dialect(
        "ruby before 2.9", _OLD_RUBY, form="unirest",
        start=_OLD_RUBY_START,
        upload=[
            ("apikey", "$K"), ("part", "$PART"), ("size", "$BYTES"), ("md5", "$MD5"), *_FORM_KEYS, ("store_location", "s3"),
            ("file", "$NAME"),
        ],
        complete=[
            ("apikey", "$K"), *_FORM_KEYS, ("filename", "$NAME"), ("size", "$SIZE"), ("mimetype", "image/jpeg"),
            ("parts", "$PARTS"), ("store_location", "s3"), ("file", "$NAME"),
        ],
        part=8 * MB, put=["Accept: */*; q=0.5, application/xml", "Content-Type: application/x-www-form-urlencoded"],
        each="$PART:$QUOTED", between=";",
    ),
    Dialect(
        "php", _PHP, form="guzzle",
        start=_PHP_START,
        upload=[*_PHP_UPLOAD, *_FORM_SIGNED, ("files", "$NAME")],
        complete=[*_PHP_COMPLETE, ("files", "$NAME"), *_FORM_SIGNED],
        part=8 * MB, put=["User-Agent: GuzzleHttp/6.2.1 curl/7.58.0 PHP/7.2", "Expect: 100-Continue"],
        each="$PART:$QUOTED", between=";",
    ),
    Dialect(
        "php, intelligently", _PHP, form="guzzle",
        start=_PHP_START,
        upload=[*_PHP_UPLOAD, ("multipart", "1"), ("offset", "$OFFSET"), *_FORM_SIGNED, ("files", "$NAME")],
        commit=[
            ("apikey", "$K"), ("uri", "$URI"), ("store_location", "s3"), ("region", "$REGION"), ("upload_id", "$ID"),
            ("part", "$PART"), ("size", "$SIZE"), ("files", "$NAME"), *_FORM_SIGNED,
        ],
        # Not the parts: this client says how many there are.
        complete=[*_PHP_COMPLETE[:-1], ("parts", "$COUNT"), ("multipart", "1"), ("files", "$NAME"), *_FORM_SIGNED],
        part=8 * MB, put=["User-Agent: GuzzleHttp/6.2.1 curl/7.58.0 PHP/7.2", "Expect: 100-Continue"], chunk=MB,
    ),
    Dialect(
        "go", _GO,
        start=f'{{"apikey":"$K",{_NAMED},"store":{{"location":"S3"}},{_SIGNED},"fii":false}}\n',
        upload=f'{{"apikey":"$K","part":$PART,"size":$BYTES,"md5":"$MD5",{_KEYS},"store":{{"location":"S3"}},"fii":false}}\n',
        complete=f'{{"apikey":"$K",{_KEYS},"size":$SIZE,"filename":"$NAME","mimetype":"image/jpeg","store":{{"location":"S3"}},'
        f'"upload_tags":null,{_SIGNED},"parts":[$PARTS]}}\n',
        part=5 * MB, put=_GO, each=_EACH, backwards=True,
    ),
    Dialect(
        "go, intelligently", _GO, no_first_offset=True,  # `omitempty`: a zero is left out
        start=f'{{"apikey":"$K",{_NAMED},"store":{{"location":"S3"}},{_SIGNED},"fii":true}}\n',
        upload=f'{{"apikey":"$K","part":$PART,"size":$BYTES,"md5":"$MD5",{_KEYS},"store":{{"location":"S3"}},"fii":true,'
        '"offset":$OFFSET}\n',
        commit=f'{{"apikey":"$K",{_KEYS},"size":$SIZE,"part":$PART,"store":{{"location":"S3"}}}}\n',
        complete=f'{{"apikey":"$K",{_KEYS},"size":$SIZE,"filename":"$NAME","mimetype":"image/jpeg","store":{{"location":"S3"}},'
        f'"upload_tags":null,{_SIGNED},"fii":true}}\n',
        part=8 * MB, put=_GO, chunk=5 * MB,
    ),
    Dialect(
        "java", _JAVA, form="okhttp",
        start=[*_JAVA_BASE, ("size", "$SIZE")],
        upload=[*_JAVA_BASE, *_FORM_KEYS, ("part", "$PART"), ("size", "$BYTES"), ("md5", "$MD5")],
        complete=[*_JAVA_BASE, *_FORM_KEYS, ("size", "$SIZE"), ("parts", "$PARTS")],
        part=5 * MB, put=["Content-Type: image/jpeg", "Accept-Encoding: gzip", "User-Agent: okhttp/3.12.1"],
        each="$PART:$QUOTED", between=";",
    ),
    Dialect(
        "java, intelligently", _JAVA, form="okhttp",
        start=[*_JAVA_BASE, ("size", "$SIZE"), ("multipart", "true")],
        upload=[
            *_JAVA_BASE, *_FORM_KEYS, ("multipart", "true"), ("part", "$PART"), ("size", "$BYTES"), ("md5", "$MD5"),
            ("offset", "$OFFSET"),
        ],
        commit=[*_JAVA_BASE, *_FORM_KEYS, ("multipart", "true"), ("size", "$SIZE"), ("part", "$PART")],
        complete=[*_JAVA_BASE, *_FORM_KEYS, ("multipart", "true"), ("size", "$SIZE")],
        part=8 * MB, put=["Content-Type: image/jpeg", "Accept-Encoding: gzip", "User-Agent: okhttp/3.12.1"], chunk=MB,
    ),
    Dialect(
        "swift", _SWIFT,
        start=f'{{{_NAMED},"apikey":"$K",{_SWIFT_STORE},{_SIGNED}}}',
        upload=f'{{"apikey":"$K",{_KEYS},"part":$PART,"size":$BYTES,"md5":"$MD5",{_SWIFT_STORE}}}',
        complete=f'{{"apikey":"$K",{_KEYS},{_NAMED},{_SWIFT_STORE},{_SIGNED},"parts":[$PARTS],"upload_tags":{{"a":"b"}}}}',
        part=5 * MB, put=["Content-Type: application/octet-stream", "Accept: */*"], each=_EACH, backwards=True,
    ),
    Dialect(
        "swift, intelligently", _SWIFT,
        start=f'{{{_NAMED},"apikey":"$K",{_SWIFT_STORE},{_SIGNED},"fii":true}}',
        upload=f'{{"apikey":"$K",{_KEYS},"part":$PART,"size":$BYTES,"md5":"$MD5","offset":$OFFSET,"fii":true,{_SWIFT_STORE}}}',
        commit=f'{{"apikey":"$K",{_KEYS},"size":$SIZE,"part":$PART,{_SWIFT_STORE},"fii":true}}',
        complete=f'{{"apikey":"$K",{_KEYS},{_NAMED},{_SWIFT_STORE},{_SIGNED},"fii":true}}',
        part=8 * MB, put=["Content-Type: application/octet-stream", "Accept: */*"], chunk=MB,
    ),
)  # fmt: skip

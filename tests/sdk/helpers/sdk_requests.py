"""Single requests of the official clients that are not driven here, as their sources make them. `$NAMES` stand for values."""

from __future__ import annotations

_JSON = "Content-Type: application/json"
_FORM = "Content-Type: application/x-www-form-urlencoded"
_RUBY = ["Accept-Encoding: application/json", "Filestack-Source: Ruby-2.9.4", _JSON]
_PHP = ["User-Agent: filestack-php-2.1.3", "Filestack-Source: PHP-2.1.3"]
_GO = ["User-Agent: Go-http-client/1.1", "Accept-Encoding: gzip", _JSON]
_JAVA = ["Filestack-Source: Java-1.0.1", "Accept-Encoding: gzip", "User-Agent: okhttp/3.12.1"]
_SIGNED = '"policy":"$P","signature":"$S"'
_NULL = "null\n"  # what Go's JSON encoder makes of no body
_GO_PROCESS = (
    '{"apiKey":"$K","sources":["$URL"],"tasks":[{"Name":"store","Params":{"location":"S3","filename":"go.jpg"}},'
    '{"Name":"security","Params":{"policy":"$P","signature":"$S"}}]}\n'
)
_JAVA_CLOUD = (
    f'{{"apikey":"$K","flow":"mobile",{_SIGNED},"appurl":"filestack://done","clouds":{{"customsource":{{"path":"%s"}}}}}}'
)

#: Client and what it does; first line; host; headers; body; what comes of it: a picture's size, members of JSON, a text.
Recorded = tuple[str, str, str, list[str], str | None, object]
TABLE: list[Recorded] = [
    ("ruby overwrites", "PUT /api/file/$V?key=$K&signature=$S&policy=$PQ", "www", [*_RUBY[:2], "Content-Type: image/jpeg"],
     "new", {"url", "filename", "size", "mimetype", "isWriteable"}),
    ("ruby deletes", "DELETE /api/file/$V?key=$K&signature=$S&policy=$PQ", "www", _RUBY, None, "success"),
    ("ruby reads", "GET /$PHOTO?$Q", "cdn", _RUBY, None, (400, 200)),
    ("ruby reads metadata", "GET /api/file/$PHOTO/metadata?$Q", "www", _RUBY, None, {"size", "mimetype"}),
    ("ruby stores a URL", "POST /$K/store/security=s:$S,p:$P/$URL", "cdn", _RUBY, "", {"handle", "url"}),
    ("ruby stores a URL with options", 'POST /$K/store=path:%22some/folder/%22,filename:a.jpg/security=s:$S,p:$P/$URL', "cdn",
     _RUBY, "", {"handle", "url"}),
    ("ruby stores a URL with workflows",
     'POST /$K/store=workflows:%5B%224e8a3c0e-5d2f-4c3b-9a7b-0f6d1c2e3b4a%22%5D/security=s:$S,p:$P/$URL', "cdn", _RUBY, "",
     {"handle", "url"}),
    ("ruby asks for tags", "GET /tags/security=signature:$S,policy:$P/$PHOTO", "cdn", _RUBY, None, {"tags"}),
    ("ruby before 2.9 stores a URL", "POST /api/store/S3?key=$K&signature=$S&policy=$PQ", "www", [_FORM], "url=$URLQ", {"url"}),
    ("php stores a URL", "POST /$K/store=location:s3/$LONG/$URL", "cdn", _PHP, "", {"url", "filename"}),
    ("php stores a URL by the File API", "POST /api/store/S3?key=$K&filename=a.jpg&$Q", "www",
     [*_PHP, _FORM], "url=$URLQ", {"url", "filename", "size"}),
    ("php stores a file by the File API", "POST /api/store/S3?key=$K&filename=a.txt&$Q", "www",
     _PHP, "some text", {"url", "filename", "size"}),
    ("php overwrites with a file", "POST /api/file/$V?key=$K&$Q", "www", _PHP, "new content",
     {"url", "filename", "size"}),
    ("php overwrites with a URL", "POST /api/file/$V?key=$K&$Q", "www", [*_PHP, _FORM], "url=$URLQ",
     {"url", "filename", "size"}),
    ("php deletes", "DELETE /api/file/$V?key=$K&$Q", "www", _PHP, None, "success"),
    ("php downloads", "GET /$PHOTO?$Q&dl=true", "cdn", _PHP, None, (400, 200)),
    ("php reads metadata", "GET /$PHOTO/metadata?&filename=true&size=true&$Q", "cdn", _PHP, None,
     {"filename", "size"}),
    ("php asks whether it is harmless", "GET /sfw/$LONG/$PHOTO", "cdn", _PHP, None, {"sfw"}),
    ("go overwrites", "POST /api/file/$V?base64decode=false&$Q", "www", _GO[:2], "new content",
     {"url", "filename", "size"}),
    ("go overwrites with Base64", "POST /api/file/$V?base64decode=true&$Q", "www", _GO[:2], "bmV3",
     {"url", "filename", "size"}),
    ("go deletes, with a body", "DELETE /api/file/$V?key=$K&$Q", "www", _GO, _NULL, "success"),
    ("go stores a chain, with a body on a GET", "GET /$K/resize=width:20/$LONG/store/$PHOTO", "cdn",
     _GO, _NULL, {"handle", "url", "filename", "size", "type"}),
    ("go stores a URL", "POST /process", "cdn", _GO, _GO_PROCESS, {"handle"}),
    ("go asks for tags, with a body on a GET", "GET /$K/$LONG/tags/$PHOTO", "cdn", _GO, _NULL, {"tags"}),
    ("java overwrites", "POST /api/file/$V?$Q", "www", [*_JAVA, "Content-Type: text/plain"], "new content",
     {"url", "filename", "size"}),
    ("java deletes", "DELETE /api/file/$V?key=$K&$Q", "www", [*_JAVA, "Content-Length: 0"], None, "success"),
    ("java reads", "GET /$PHOTO?$Q", "cdn", _JAVA, None, (400, 200)),
    ("java transforms in one segment", "GET /$K/$LONG%2Fresize=w:100%2Frotate=d:90/$PHOTO", "cdn",
     _JAVA, None, (50, 100)),
    ("java stores a chain", "POST /$K/$LONG/resize=w:20%2Fstore/$PHOTO", "cdn", _JAVA, "", {"handle", "url"}),
    ("java asks what its application may do", "POST /prefetch", "cloud", [*_JAVA, _JSON],
     f'{{"apikey":"$K","flow":"mobile",{_SIGNED},"clouds":{{}}}}', {"blocked"}),
    ("java lists a cloud", "POST /folder/list", "cloud", [*_JAVA, _JSON], _JAVA_CLOUD % "/shelf/", {"customsource"}),
    ("java stores from a cloud", "POST /store/", "cloud", [*_JAVA, _JSON], _JAVA_CLOUD % "/shelf/book.jpg", {"customsource"}),
    ("java logs out", "POST /auth/logout", "cloud", [*_JAVA, _JSON], _JAVA_CLOUD % "/", set()),
    ("swift deletes", "DELETE /api/file/$V?key=$K&$Q", "www", ["Accept: */*"], None, "success"),
    ("swift overwrites", "POST /api/file/$V?$Q", "www", ["Content-Type: text/plain"], "new content",
     {"url", "filename", "size"}),
    ("swift transforms", "GET /$LONG/resize=width:100,height:50,fit:crop,align:center/$PHOTO", "cdn",
     ["Accept: */*"], None, (100, 50)),
]  # fmt: skip

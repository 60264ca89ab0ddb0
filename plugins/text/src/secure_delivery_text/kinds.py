"""Which files are texts, by type and by extension.

Knows: lists. Must not know: how anything is read; the server process imports this module.
"""

from __future__ import annotations

PLAIN_TYPES = ("text/plain", "text/calendar", "text/vcard", "text/vtt", "application/x-subrip")
TABLE_TYPES = ("text/csv", "text/tab-separated-values")
TABLE_EXTENSIONS = ("csv", "tsv", "tab")
PLAIN_EXTENSIONS = (
    *("txt", "text", "log", "out", "err", "asc", "nfo", "srt", "vtt", "ics", "vcf", "lst", "list", "me", "1st", "adoc"),
    *("asciidoc", "lock", "sum"),
)

MARKDOWN_TYPES = ("text/markdown", "text/x-markdown")
MARKDOWN_EXTENSIONS = ("md", "markdown", "mdown", "mkd", "mkdn", "mdwn", "mdtext")

#: Types that are code. Pages and drawings are in the second list: others show what they look like.
SOURCE_TYPES = (
    *("text/javascript", "application/javascript", "text/css", "application/json", "application/ld+json"),
    *("application/xml", "text/xml", "text/x-python", "text/x-c", "text/x-c++", "text/x-java", "text/x-java-source"),
    *("text/x-shellscript", "application/x-sh", "application/x-yaml", "application/yaml", "text/yaml"),
    *("application/toml", "application/sql", "text/x-sql", "text/x-go", "text/x-rust", "text/rust", "text/x-ruby"),
    *("text/x-perl", "text/x-php", "text/x-diff", "text/x-patch", "text/x-lua", "text/x-makefile", "text/x-tex"),
    *("text/x-kotlin", "text/x-scala", "application/x-httpd-php"),
)
MARKUP_TYPES = ("text/html", "application/xhtml+xml", "image/svg+xml")

SOURCE_EXTENSIONS = (
    *("py", "pyi", "pyw", "pyx", "js", "mjs", "cjs", "jsx", "ts", "tsx", "mts", "cts", "vue", "svelte", "coffee"),
    *("css", "scss", "sass", "less", "json", "json5", "jsonc", "jsonl", "ndjson", "geojson", "ipynb", "xml", "xsd"),
    *("xsl", "xslt", "rss", "atom", "yaml", "yml", "toml", "ini", "cfg", "conf", "properties", "env", "c", "h", "cc"),
    *("cpp", "cxx", "hh", "hpp", "hxx", "ino", "m", "mm", "java", "kt", "kts", "scala", "groovy", "gradle", "clj"),
    *("cljs", "cs", "csx", "fs", "fsx", "vb", "vbs", "bas", "go", "rs", "swift", "rb", "erb", "rake", "gemspec"),
    *("php", "phtml", "pl", "pm", "t", "lua", "r", "jl", "dart", "ex", "exs", "erl", "hrl", "hs", "lhs", "ml"),
    *("mli", "elm", "nim", "zig", "d", "v", "sv", "vhd", "vhdl", "asm", "s", "nasm", "f", "f90", "f95", "for", "pas"),
    *("pp", "ada", "adb", "ads", "cob", "cbl", "lisp", "lsp", "el", "scm", "rkt", "pro", "tcl", "sh", "bash", "zsh"),
    *("fish", "ksh", "csh", "bat", "cmd", "ps1", "psm1", "psd1", "awk", "sed", "sql", "ddl", "graphql", "gql"),
    *("proto", "thrift", "avsc", "tf", "tfvars", "hcl", "nix", "cmake", "mk", "mak", "make", "dockerfile", "diff"),
    *("patch", "tex", "sty", "cls", "bib", "rst", "org", "po", "pot", "twig", "j2", "jinja"),
    *("jinja2", "mustache", "hbs", "ejs", "haml", "pug", "slim", "liquid", "sol", "vy", "wat", "ll", "glsl", "vert"),
    *("frag", "hlsl", "wgsl", "cu", "gd", "applescript", "ahk", "au3", "reg", "inf", "plist", "robot"),
    *("feature", "mod"),
)

ALL_TYPES = (*PLAIN_TYPES, *TABLE_TYPES, *MARKDOWN_TYPES, *SOURCE_TYPES, *MARKUP_TYPES)
ALL_EXTENSIONS = (*PLAIN_EXTENSIONS, *TABLE_EXTENSIONS, *MARKDOWN_EXTENSIONS, *SOURCE_EXTENSIONS, "html", "htm", "xhtml", "svg")


def ending(filename: str) -> str:
    """The extension in lower case, or ""."""
    return filename.rpartition(".")[2].lower() if "." in filename else ""


def is_markdown(mimetype: str, filename: str) -> bool:
    return mimetype in MARKDOWN_TYPES or (mimetype not in SOURCE_TYPES and ending(filename) in MARKDOWN_EXTENSIONS)


def is_table(mimetype: str, filename: str) -> bool:
    return mimetype in TABLE_TYPES or ending(filename) in TABLE_EXTENSIONS


def is_source(mimetype: str, filename: str) -> bool:
    """Whether it may be code, which a lexer then decides by its name."""
    if is_markdown(mimetype, filename) or is_table(mimetype, filename):
        return False
    return mimetype in (*SOURCE_TYPES, *MARKUP_TYPES) or ending(filename) in SOURCE_EXTENSIONS

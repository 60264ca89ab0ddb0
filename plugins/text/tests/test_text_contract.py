"""The published contract of previewers and extractors, and what the plugin registers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import secure_delivery_text
from secure_delivery.plugin import Media, MemoryFile
from secure_delivery.plugin.testing import ExtractorContract, PreviewerContract
from secure_delivery_text.extractors import Text
from secure_delivery_text.previewers import previewers

PREVIEWERS = previewers()
CODE = "\n".join(f"def f{number}(x):  # a comment\n    return 'text' + {number}" for number in range(60))
MARKDOWN = "---\ntitle: A title\n---\n# One\n\n" + "\n\n".join(f"## {n}\n\n* *a*\n* **b** `c`\n\n> quote\n" for n in range(40))


class TestText(PreviewerContract):
    previewer = PREVIEWERS["text"]

    def sample_media(self) -> Media:
        return MemoryFile(b"words and words\n" * 150, "text/plain", "a.txt")


class TestTable(PreviewerContract):
    previewer = PREVIEWERS["text"]

    def sample_media(self) -> Media:
        return MemoryFile(b"name;count\n" + b"chairs;3\n" * 100, "text/csv", "a.csv")


class TestSource(PreviewerContract):
    previewer = PREVIEWERS["source"]

    def sample_media(self) -> Media:
        return MemoryFile(CODE.encode(), "text/plain", "a.py")


class TestMarkupSource(PreviewerContract):
    previewer = PREVIEWERS["markup_source"]

    def sample_media(self) -> Media:
        return MemoryFile(b"<p class=x>words</p>\n" * 90, "text/html", "a.html")


class TestMarkdown(PreviewerContract):
    previewer = PREVIEWERS["markdown"]

    def sample_media(self) -> Media:
        return MemoryFile(MARKDOWN.encode(), "text/markdown", "a.md")


class TestSection(ExtractorContract):
    extractor = Text()

    def sample_media(self) -> Media:
        return MemoryFile(MARKDOWN.encode(), "text/markdown", "a.md")

    def sample_options(self) -> Mapping[str, Any]:
        return {"content": True}


class TestSectionOfCode(ExtractorContract):
    extractor = Text()

    def sample_media(self) -> Media:
        return MemoryFile(CODE.encode(), "text/plain", "a.py")


def test_the_best_previewer_of_a_file_comes_first() -> None:
    """Code in colours before plain text, and what pages look like before their code."""
    priorities = {name: previewer.priority for name, previewer in PREVIEWERS.items()}
    assert priorities["source"] > priorities["text"] > priorities["markup_source"]
    assert priorities["markdown"] > priorities["text"]
    assert secure_delivery_text.register_previewers({}).keys() == PREVIEWERS.keys()


def test_the_server_process_loads_no_library() -> None:
    """Registering imports nothing that reads or draws."""
    code = (
        "import sys, secure_delivery_text as t; t.self_test({}); t.register_previewers({}); t.register_extractors({});"
        "print([m for m in ('PIL', 'pygments', 'markdown_it', 'charset_normalizer') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

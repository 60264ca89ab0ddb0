"""The hooks: what a plugin may register, and when it is called.

A plugin is any object (usually a module) in the entry-point group `secure_delivery` with functions marked `@hookimpl`.
All hooks are synchronous and get plain data. An implementation may leave out arguments it does not need; arguments are
only ever added, never removed.

Every `register_*` hook is called once, at start-up, in every process that does work. It gets `settings`, the mapping under
`[plugins.NAME]` in the settings file, and returns a mapping *name -> thing*; an empty mapping, or None, when it offers
nothing under these settings. It must not do slow work, open connections or read files: that belongs in the thing's own
methods. Raising is allowed and means "not available": the plugin is listed with the reason and the rest goes on.
Two plugins offering the same name are refused at start-up unless the settings rank one above the other.
"""

from __future__ import annotations

from collections.abc import Mapping

import pluggy

from .previewing import Extractor, Previewer
from .protocols import (
    CloudSource,
    Detector,
    Event,
    Program,
    Queue,
    Scanner,
    Settings,
    Storage,
    StorageProvider,
    Transformation,
)

PROJECT = "secure_delivery"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def register_storages(settings: Settings) -> Mapping[str, Storage] | None:
    """Places for blobs, by the provider name that store requests and settings use (`local`, `s3`)."""


@hookspec
def register_storage_providers(settings: Settings) -> Mapping[str, StorageProvider] | None:
    """Kinds of storages that applications can be given, by the name that clients call them (`s3`, `gcs`, `azure`)."""


@hookspec
def register_transformations(settings: Settings) -> Mapping[str, Transformation] | None:
    """Tasks of transformation URLs, by task name. Names are lower-case letters, digits and underscores.

    Several plugins may offer one name when each says which types of files it is for (`Selective`).
    """


@hookspec
def register_detectors(settings: Settings) -> Mapping[str, Detector] | None:
    """What finds or judges something in a file, by the name that tasks ask for: `faces`, `ocr`, `tags`, `sfw`, `caption`,
    `doc_detection`, `image_sentiment`, `text_sentiment`, `copyright`, or one of your own."""


@hookspec
def register_programs(settings: Settings) -> Mapping[str, Program] | None:
    """External programs that this plugin's tasks have run, by a name of your own (`office_to_pdf`)."""


@hookspec
def register_previewers(settings: Settings) -> Mapping[str, Previewer] | None:
    """Makers of page pictures, by a name for reports. Which one is used follows types, priority and rank."""


@hookspec
def register_extractors(settings: Settings) -> Mapping[str, Extractor] | None:
    """Readers of metadata, by the name of the section they fill."""


@hookspec
def register_queues(settings: Settings) -> Mapping[str, Queue] | None:
    """Ways to tell workers of a job, by the scheme that the `queue` setting uses (`embedded`, `celery`)."""


@hookspec
def register_scanners(settings: Settings) -> Mapping[str, Scanner] | None:
    """Judges of uploaded files, by name."""


@hookspec
def register_cloud_sources(settings: Settings) -> Mapping[str, CloudSource] | None:
    """Places whose files users pick, by the name that pickers call them (`googledrive`, `dropbox`)."""


@hookspec
def self_test(settings: Settings) -> None:
    """Called once at start-up, before anything is registered. Raise to say why this plugin cannot work here."""


@hookspec
def on_event(event: Event) -> None:
    """Told after something happened and was made durable. The return value is ignored; raising is logged, never passed on."""

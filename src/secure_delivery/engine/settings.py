"""One typed object for everything an operator may set.

Knows: the settings file (`secure-delivery.toml`) and the environment (`SECURE_DELIVERY_*`). Must not know: what the
settings are used for.

A key nobody knows, a value of the wrong kind or out of range stops the start with a sentence that names the setting: a
misspelt limit must not become no limit.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from ..gate.errors import ConfigurationError
from . import setting_values as kinds

PREFIX = "SECURE_DELIVERY_"
FILE = "secure-delivery.toml"
#: Environment variables of this prefix that are not settings of the server: where the file is; the gate's own secret; tests.
_OTHER = ("SECURE_DELIVERY_CONFIG", "SECURE_DELIVERY_SECRET", "SECURE_DELIVERY_TEST_")


def _setting(read: Callable[[Any], Any], default: Any, says: str, *, secret: bool = False) -> Any:
    kind: dict[str, Any] = {"default_factory": default} if callable(default) else {"default": default}
    return field(**kind, metadata={"read": read, "help": says}, repr=not secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of the server and its engine. `help(name)` says what each is for; docs/settings.md lists them."""

    data: Path = _setting(kinds.path, Path("data"), "Folder for the database, stored files and keys.")
    database: str = _setting(kinds.text, "", "Database URL; empty means SQLite inside the data folder.")
    plain_secrets: bool = _setting(
        kinds.flag,
        False,
        "Take secrets of applications over plain HTTP from other machines too, where anybody on the way reads them.",
    )
    database_plain: bool = _setting(
        kinds.flag,
        False,
        "Let a PostgreSQL on another machine be spoken to without looking at its certificate, or without TLS.",
    )
    host: str = _setting(kinds.text, "127.0.0.1", "Address the server listens on.")
    port: int = _setting(kinds.number(0, 65535), 8000, "Port the server listens on; 0 picks a free one.")
    workers: int = _setting(kinds.number(1, 64), 1, "Server processes.")
    public_url: str = _setting(kinds.url, "", "Scheme and host in URLs we hand out; empty means those of the request.")
    portal_host: str = _setting(
        kinds.host,
        "portal.localhost",
        "Host name under which the developer portal answers, without a port; empty for no portal.",
    )
    portal_url: str = _setting(
        kinds.origin, "", "Scheme and host of the portal as people open it; empty means portal_host as they asked for it."
    )
    proxies: tuple[str, ...] = _setting(
        kinds.networks,
        (),
        "Addresses and networks of the proxies in front, whose word counts on who asks for what by which scheme.",
    )
    forwarded: str = _setting(
        kinds.one_of("x-forwarded", "forwarded"),
        "x-forwarded",
        "Headers in which proxies say so: x-forwarded (-For, -Proto, -Host) or forwarded (RFC 7239); the other is ignored.",
    )
    accel: str = _setting(
        kinds.location, "", "Internal location of the nginx in front, as /_blobs/, that sends large files; empty for none."
    )
    master_key: str = _setting(
        kinds.text, "", "Master keys as id:base64[,id:base64], the last one current; empty means the key file.", secret=True
    )
    master_key_file: str = _setting(kinds.text, "", "File of master keys; empty means master.key in the data folder.")
    storage: str = _setting(kinds.text, "local", "Name of the server's own storage that new files go to.")
    development_days: float = _setting(
        kinds.number(0, 36_500, float), 7.0, "Days until files of applications without a storage of their own go; 0 for never."
    )
    development_bytes: int = _setting(
        kinds.number(0, 2**60),
        1_073_741_824,
        "Bytes that each application without a storage of its own may use; 0 for no bound.",
    )
    upload_hours: float = _setting(kinds.number(0.01, 8760, float), 24.0, "Hours after which an unfinished upload is dropped.")
    direct_uploads: bool = _setting(
        kinds.flag,
        True,
        "Have parts of large files sent straight to storages that can take them, instead of through the server.",
    )
    storage_allow: tuple[str, ...] = _setting(
        kinds.names, (), "Hosts and networks where storages of applications may be although they are not public."
    )
    storage_ports: tuple[int, ...] = _setting(kinds.ports, (), "Ports that storages may use besides 80 and 443.")
    max_bytes: int = _setting(kinds.number(1, 2**50), 268_435_456, "Bytes of the largest file accepted.")
    max_pixels: int = _setting(kinds.number(1, 2**31), 100_000_000, "Pixels of the largest picture decoded.")
    decoders: int = _setting(kinds.number(1, 64), lambda: min(8, os.cpu_count() or 1), "Decoder processes at work at once.")
    decode_queue: int = _setting(kinds.number(0, 100_000), 256, "Transformations that may wait for a decoder.")
    decode_wait: float = _setting(kinds.number(0.1, 600, float), 20.0, "Seconds a transformation may wait for a decoder.")
    decode_seconds: float = _setting(kinds.number(0.5, 3600, float), 60.0, "Wall seconds one transformation may take.")
    decode_cpu_seconds: int = _setting(kinds.number(1, 3600), 30, "CPU seconds one transformation may take.")
    decode_memory: int = _setting(kinds.number(2**27, 2**40), 2_000_000_000, "Bytes of memory one transformation may use.")
    decode_warm: tuple[str, ...] = _setting(
        kinds.names,
        ("resize",),
        "Tasks whose libraries decoders load at once; those of others are loaded with their first job.",
    )
    max_animation_pixels: int = _setting(
        kinds.number(1, 2**31), 100_000_000, "Pixels of all frames of an animation together; beyond it the first frame is used."
    )
    sandbox_floor: tuple[str, ...] = _setting(
        kinds.names, ("rlimits", "seccomp", "landlock"), "Confinement layers without which nothing is decoded."
    )
    rendition_max_age: int = _setting(kinds.number(0, 31_536_000), 3600, "Seconds an unsigned answer may be cached.")
    rendition_bytes: int = _setting(
        kinds.number(2**20, 2**60), 10_737_418_240, "Bytes of kept results; beyond it those not used for longest go."
    )
    rendition_days: float = _setting(
        kinds.number(0.001, 36_500, float), 30.0, "Days for which a result is kept at the longest."
    )
    rendition_memory: int = _setting(
        kinds.number(0, 2**40), 67_108_864, "Bytes of small results that each server process has in memory; 0 for none."
    )
    fetch_keep: float = _setting(
        kinds.number(0, 86_400, float), 300.0, "Seconds a fetched source is kept for the next request, at the longest."
    )
    own_hosts: tuple[str, ...] = _setting(
        kinds.names, (), "More host names whose URLs mean files of this server, when they are sources or watermarks."
    )
    folders: Mapping[str, str] = _setting(kinds.texts, dict, "Folders that storage aliases may read from, as name = path.")
    fetch_allow: tuple[str, ...] = _setting(
        kinds.names, (), "Hosts and networks that may be fetched from although they are not public."
    )
    fetch_ports: tuple[int, ...] = _setting(kinds.ports, (), "Ports that may be fetched from besides 80 and 443.")
    fetch_https_only: bool = _setting(kinds.flag, False, "Fetch by https only, never by plain http.")
    fetch_seconds: float = _setting(kinds.number(1, 3600, float), 60.0, "Wall seconds one fetch may take, redirects included.")
    webhook_allow: tuple[str, ...] = _setting(
        kinds.names, (), "Hosts and networks where webhooks may go although they are not public, and by plain http too."
    )
    webhook_ports: tuple[int, ...] = _setting(kinds.ports, (), "Ports that webhooks may use besides 80 and 443.")
    webhook_https_only: bool = _setting(kinds.flag, True, "Send webhooks by https only, but for what webhook_allow names.")
    webhook_seconds: float = _setting(kinds.number(0.5, 120, float), 10.0, "Seconds one try to deliver a webhook may take.")
    webhook_delays: tuple[float, ...] = _setting(
        kinds.delays, (10, 60, 300, 900, 3600, 43_200), "Seconds after each failed try until a webhook is tried again."
    )
    demo_receiver: bool = _setting(
        kinds.flag,
        False,
        "Offer POST /demo/webhook on this machine, a receiver to try webhooks with; serve --demo switches it on.",
    )
    webhook_log_days: float = _setting(
        kinds.number(0.001, 3650, float), 7.0, "Days for which deliveries that are over are remembered and can be sent again."
    )
    webhook_senders: int = _setting(kinds.number(1, 1000), 32, "Deliveries that one process has on their way at once.")
    queue: str = _setting(
        kinds.text, "embedded", "How workers learn of jobs: embedded, or the name of a queue that a plugin provides (celery)."
    )
    job_workers: int = _setting(
        kinds.number(0, 256),
        lambda: min(4, os.cpu_count() or 1),
        "Jobs at work at once in each process; 0 leaves them to workers.",
    )
    job_lease: float = _setting(
        kinds.number(0.5, 3600, float), 60.0, "Seconds a worker may be silent before its jobs are begun again by another."
    )
    job_attempts: int = _setting(
        kinds.number(1, 100), 3, "How often a job is begun that never ends, before it is given up as a failure."
    )
    job_days: float = _setting(kinds.number(0.001, 36_500, float), 30.0, "Days for which the record of an ended job is kept.")
    job_unheard: float = _setting(
        kinds.number(1, 86_400, float), 60.0, "Seconds after which a queue is told again of a job that nobody has begun."
    )
    job_seconds: float = _setting(kinds.number(1, 86_400, float), 60.0, "Wall seconds one previewer or extractor may take.")
    video_seconds: float = _setting(
        kinds.number(1, 86_400, float), 900.0, "Wall seconds one conversion of video or audio may take."
    )
    metrics_token: str = _setting(
        kinds.token,
        "",
        "Bearer token for GET /metrics, 16 characters or more; empty: only from this machine itself.",
        secret=True,
    )
    metrics_applications: bool = _setting(
        kinds.flag, False, "Have /metrics tell applications apart: one series more for each of them."
    )
    password_memory: int = _setting(
        kinds.number(19_456, 2**22), 19_456, "KiB of memory that hashing one password of an account takes."
    )
    password_passes: int = _setting(
        kinds.number(2, 1000), 2, "Passes over that memory; hashes are raised with the next sign-in."
    )
    password_hashes: int = _setting(kinds.number(1, 256), 2, "Passwords that each process hashes at once.")
    quiet: bool = _setting(kinds.flag, False, "Log only warnings and errors, not every request.")
    plugins_blocked: tuple[str, ...] = _setting(kinds.names, (), "Names of installed plugins that are not loaded.")
    plugins_rank: tuple[str, ...] = _setting(kinds.names, (), "Plugins from strongest to weakest where two offer the same.")
    plugins: Mapping[str, Mapping[str, Any]] = _setting(kinds.tables, dict, "Settings of each plugin, as [plugins.NAME].")

    @property
    def database_url(self) -> str:
        """The database URL that is really used."""
        return self.database or f"sqlite:///{self.data.absolute() / 'secure-delivery.sqlite'}"

    @property
    def portal_name(self) -> str:
        """The host under which the portal answers, in lower case and without a port; empty where there is no portal."""
        return kinds.host_of(self.portal_url) or "" if self.portal_url else self.portal_host

    @property
    def portal_address(self) -> str:
        """The address of the portal as people open it, without a slash at the end; empty where there is no portal. On a host of
        `portal_host` it is that of this machine itself."""
        if self.portal_url:
            return self.portal_url.rstrip("/")
        port = "" if self.port == 80 else f":{self.port}"
        return f"http://{self.portal_host}{port}" if self.portal_host else ""

    @property
    def demo_webhook(self) -> str:
        """The address of the receiver for trying webhooks, on this machine itself; empty where there is none."""
        every = "0.0.0.0"  # noqa: S104 - compared with, not bound to
        near = {"127.0.0.1": "127.0.0.1", "localhost": "127.0.0.1", every: "127.0.0.1", "::1": "[::1]", "::": "[::1]"}
        at = near.get(self.host, "") if self.demo_receiver else ""
        return f"http://{at}:{self.port}/demo/webhook" if at else ""

    @property
    def key_file(self) -> Path:
        """The file of master keys that is really used."""
        return Path(self.master_key_file) if self.master_key_file else self.data / "master.key"

    @classmethod
    def names(cls) -> dict[str, str]:
        """Every setting with its sentence, in order."""
        return {item.name: item.metadata["help"] for item in fields(cls)}

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """The default of every setting."""
        return {
            item.name: item.default_factory() if item.default_factory is not MISSING else item.default for item in fields(cls)
        }

    @classmethod
    def read(cls, values: Mapping[str, Any], *, source: str = "settings") -> Settings:
        """Settings from a mapping of plain values. Raises `ConfigurationError` naming the setting and where it stands."""
        settings = cls._part(values, source)
        settings._check()
        return settings

    def _check(self) -> None:
        """Raises `ConfigurationError` where two settings cannot be together."""
        if self.portal_name and self.portal_name == kinds.host_of(self.public_url):
            name = "portal_url" if self.portal_url else "portal_host"
            raise ConfigurationError(
                f"{name}: {self.portal_name} is the host of public_url too: files of strangers and the portal need a host each"
            )

    @classmethod
    def _part(cls, values: Mapping[str, Any], source: str) -> Settings:
        """Each value by itself: the rest may come from elsewhere."""
        known = {item.name: item for item in fields(cls)}
        result: dict[str, Any] = {}
        for name, value in values.items():
            if name not in known:
                raise ConfigurationError(f"{source}: there is no setting called {name}{_suggest(name, known)}")
            try:
                result[name] = known[name].metadata["read"](value)
            except ValueError as error:
                raise ConfigurationError(f"{source}: {name}: {error}") from None
        return cls(**result)

    @classmethod
    def load(cls, file: Path | None = None, environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
        """Settings from the file, then the environment over it, then `overrides`.

        `file` defaults to `$SECURE_DELIVERY_CONFIG`, else `secure-delivery.toml` in the working folder when there is one.
        Raises `ConfigurationError` for a file that is named but missing, for TOML that is not, and as `read` does.
        """
        environ = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        named = file or (Path(environ["SECURE_DELIVERY_CONFIG"]) if environ.get("SECURE_DELIVERY_CONFIG") else None)
        path = named or Path(FILE)
        if named is not None or path.exists():
            values |= _file_values(path)
            cls._part(values, path.name)
        for name, text in environ.items():
            if name.startswith(PREFIX) and not name.startswith(_OTHER):
                setting = name.removeprefix(PREFIX).lower()
                cls._part({setting: text}, f"environment variable {name}")
                values[setting] = text
        return cls.read(values | {name: value for name, value in overrides.items() if value is not None})


def _file_values(path: Path) -> dict[str, Any]:
    """The server's values of a settings file. `[gate]` belongs to embedded guards and is left to them."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigurationError(f"{path}: {error}") from None
    document.pop("gate", None)
    return document


def _suggest(name: str, known: Mapping[str, object]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""

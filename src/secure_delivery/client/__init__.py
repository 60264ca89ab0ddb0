"""A client of the service: upload, read, transform, sign; for programs that wait and for event loops.

Knows: the public names. Needs `httpx` (the extra `client`), and nothing of the server.

    from secure_delivery.client import Client, transform

    client = Client("https://files.example.org", api_key="…", secret="…")
    file = client.upload("photo.jpg")
    url = client.url(file.handle, transform.resize(width=300).output(format="webp"))
"""

from ..gate.policy import Call, SignedPolicy
from .aio import AsyncClient
from .base import Grant
from .errors import (
    ClientError,
    Denied,
    NetworkError,
    NotFound,
    ProtocolError,
    ResponseError,
    ServerError,
    SigningError,
    SourceChanged,
    TooLarge,
    TooMany,
    TransformError,
    UploadError,
    WebhookError,
)
from .state import File, Part, State, StoreOptions
from .sync import Client
from .transform import Transform, transform
from .webhooks import Event, Memory, SeenEvents, callback_secret, forget_webhook, receive_webhook, verify_webhook
from .wire import Retry

__all__ = [
    "AsyncClient",
    "Call",
    "Client",
    "ClientError",
    "Denied",
    "Event",
    "File",
    "Grant",
    "Memory",
    "NetworkError",
    "NotFound",
    "Part",
    "ProtocolError",
    "ResponseError",
    "Retry",
    "SeenEvents",
    "ServerError",
    "SignedPolicy",
    "SigningError",
    "SourceChanged",
    "State",
    "StoreOptions",
    "TooLarge",
    "TooMany",
    "Transform",
    "TransformError",
    "UploadError",
    "WebhookError",
    "callback_secret",
    "forget_webhook",
    "receive_webhook",
    "transform",
    "verify_webhook",
]

"""Files with weights, from the packages that carry them: found, checked, read.

Knows: where an installed package keeps its files, how weights lie in them. Must not know: what a network does with them.

Nothing of those packages is imported, so none of their code runs; and a file is read only when its digest is the one that was
looked at when this plugin was written.
"""

from __future__ import annotations

import hashlib
import os
from importlib import metadata, resources
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from secure_delivery.plugin import ConfigurationError

if TYPE_CHECKING:
    from .nets import Array

#: A pool of threads would be started while numpy is loaded, before the process forks. Besides, the matrices of these networks
#: are so small that threads wait for each other most of the time.
_ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


class Model(NamedTuple):
    """A file of an installed distribution, and the SHA-256 it must have."""

    distribution: str
    version: str
    file: str
    digest: str

    def missing(self) -> str:
        """What is wrong with the installation, in a few words; empty when the right version is there."""
        try:
            found = metadata.version(self.distribution)
        except metadata.PackageNotFoundError:
            return f"{self.distribution} is not installed"
        return "" if found == self.version else f"{self.distribution} {found} is not {self.version}"

    def read(self) -> bytes:
        """The bytes. Raises `ConfigurationError` when they are not there or not those that are expected."""
        if problem := self.missing():
            raise ConfigurationError(problem)
        try:
            data = Path(str(metadata.distribution(self.distribution).locate_file(self.file))).read_bytes()
        except OSError as error:
            raise ConfigurationError(f"{self.distribution}: {self.file} cannot be read") from error
        return checked(data, self.digest, self.distribution)


def checked(data: bytes, digest: str, name: str) -> bytes:
    """The data, when it has that SHA-256. Raises `ConfigurationError`."""
    if hashlib.sha256(data).hexdigest() != digest:
        raise ConfigurationError(f"{name}: the file with the weights is not the one this plugin was made for")
    return data


def own(name: str) -> bytes:
    """A file that this package carries itself."""
    return resources.files(__package__).joinpath("data", name).read_bytes()


def numpy() -> ModuleType:
    """numpy, loaded without its pool of threads."""
    for name in _ONE_THREAD:
        os.environ.setdefault(name, "1")
    import numpy

    return numpy


# --------------------------------------------------------------------------------------------------------------- arrays


def laid_out(data: bytes, layout: Any) -> dict[str, Array]:
    """Arrays of floats somewhere in a file, which `layout` (tools/make_layout.py) knows: PyTorch's, without their pickles."""
    np = numpy()
    arrays = {}
    for entry in layout:
        shape, strides = entry["shape"], entry["strides"]
        count = 1 + sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True))
        flat = np.frombuffer(data, "<f4", count, entry["at"])
        arrays[entry["name"]] = np.lib.stride_tricks.as_strided(flat, shape, [4 * step for step in strides], writeable=False)
    return arrays


def in_a_row(data: bytes, manifest: Any) -> dict[str, Array]:
    """Arrays one after the other, as floats or as scaled bytes, as a manifest of TensorFlow.js describes them."""
    np = numpy()
    arrays, place = {}, 0
    for entry in manifest:
        shape, scaled = tuple(entry["shape"]), entry.get("quantization")
        kind = np.dtype("u1" if scaled else "<f4")
        count = int(np.prod(shape, dtype=np.int64))
        values = np.frombuffer(data, kind, count, place)
        place += count * kind.itemsize
        if scaled:
            values = values.astype(np.float32) * np.float32(scaled["scale"]) + np.float32(scaled["min"])
        arrays[entry["name"]] = values.reshape(shape)
    if place != len(data):
        raise ConfigurationError("the weights are longer than their description")
    return arrays

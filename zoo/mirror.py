"""A mirror in the place of every host, for machines that reach no other."""

from __future__ import annotations

import os
from urllib.parse import unquote, urlsplit

from halocline.errors import ZooError
from halocline.zoo.source import Local, Remote, local, remote


def mirrored(source: Local | Remote) -> Local | Remote:
    """Where a file is really fetched from.

    ``HALOCLINE_MIRROR`` is an https address or a folder. It takes the place of scheme and host of a URL:
    ``https://HOST/PATH`` is looked for at ``MIRROR/PATH``.

    Raises:
        ZooError: the mirror is neither.
    """
    mirror = os.environ.get("HALOCLINE_MIRROR", "").rstrip("/")
    if not mirror or isinstance(source, Local):
        return source
    address = urlsplit(source.url)
    try:
        if mirror.startswith(("https:", "http:")):
            return remote(mirror + address.path + (f"?{address.query}" if address.query else ""))
        return local(f"file:{mirror.removeprefix('file:')}{unquote(address.path)}")
    except ZooError as error:
        raise ZooError(
            f"HALOCLINE_MIRROR={mirror} is neither https://HOST nor the path of a folder: {error}"
        ) from error

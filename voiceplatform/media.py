"""The one way a stored sound leaves the platform: whole or in ranges, never by URL.

The caller has decided that the person may have the file; this says how it is sent
(RFC 9110, sections 13 and 14).
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator
from typing import Any

from django.db.models.fields.files import FieldFile
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase, HttpResponseNotModified
from django.utils.cache import patch_vary_headers
from django.utils.http import content_disposition_header

logger = logging.getLogger(__name__)

BLOCK_BYTES = 64 * 1024
MAX_FILE_NAME_CHARACTERS = 100

_ONE_RANGE = re.compile(r"bytes\s*=\s*(\d*)\s*-\s*(\d*)", re.IGNORECASE)
_UNSAFE_IN_FILE_NAME = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*]+')


class Unsatisfiable(Exception):
    """The range asked for lies outside the file."""


def serve_audio(
    request: HttpRequest,
    field_file: FieldFile,
    *,
    download_name: str | None = None,
    content_type: str = "audio/wav",
) -> HttpResponseBase:
    """The file, or the one range of it that was asked for.

    With `download_name` the browser saves it under that name, made safe. Raises
    Http404 if there is no file. Stored files are written once under a name of their
    own, so the name and the size are the version.
    """
    name, storage = field_file.name, field_file.storage
    if not name:
        raise Http404("There is no sound here yet.")
    try:
        size = storage.size(name)
        etag = f'"{hashlib.sha256(f"{name} {size}".encode()).hexdigest()[:32]}"'
        if _matches(request.headers.get("If-None-Match", ""), etag):
            return _with_headers(HttpResponseNotModified(), etag)
        try:
            span = _asked_range(request, etag, size)
        except Unsatisfiable:
            refusal = HttpResponse(status=416)
            refusal["Content-Range"] = f"bytes */{size}"
            return _with_headers(refusal, etag)
        start, end = span or (0, size)
        response: HttpResponseBase
        if request.method == "HEAD":
            response = HttpResponse(content_type=content_type)
        else:
            response = StreamingHttpResponse(
                _Stretch(storage.open(name, "rb"), start, end - start),
                content_type=content_type,
                status=206 if span else 200,
            )
    except FileNotFoundError:
        logger.exception("a row names a file that is not there")
        raise Http404("This sound is gone.") from None
    response["Content-Length"] = str(end - start)
    if span:
        response["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    if download_name is not None:
        response["Content-Disposition"] = content_disposition_header(
            True, safe_file_name(download_name)
        )
    return _with_headers(response, etag)


def safe_file_name(name: str) -> str:
    """The name without what file systems and headers stumble over; never empty."""
    cleaned = " ".join(_UNSAFE_IN_FILE_NAME.sub(" ", name).split()).strip(". ")
    stem, dot, extension = cleaned.rpartition(".")
    if dot and len(extension) <= 5:
        room = MAX_FILE_NAME_CHARACTERS - len(extension) - 1
        cleaned = f"{stem[:room].rstrip('. ')}.{extension}"
    return cleaned[:MAX_FILE_NAME_CHARACTERS].strip() or "sound"


def _with_headers(response: Any, etag: str) -> Any:
    response["ETag"] = etag
    response["Accept-Ranges"] = "bytes"
    # Asked again each time: a file that was deleted or signed out of is not replayed.
    response["Cache-Control"] = "private, no-cache"
    patch_vary_headers(response, ["Cookie", "Authorization"])
    return response


def _matches(header: str, etag: str) -> bool:
    tags = [tag.strip().removeprefix("W/") for tag in header.split(",")]
    return etag in tags or tags == ["*"]


def _asked_range(request: HttpRequest, etag: str, size: int) -> tuple[int, int] | None:
    """(first byte, one past the last), or None for the whole file.

    Raises Unsatisfiable. Only GET has ranges; a malformed one, several at once, and
    one that is tied to another version (If-Range) mean the whole file.
    """
    header = request.headers.get("Range")
    if request.method != "GET" or header is None:
        return None
    if_range = request.headers.get("If-Range")
    if if_range is not None and if_range.strip() != etag:
        return None
    match = _ONE_RANGE.fullmatch(header.strip())
    if match is None or match[1] == match[2] == "":
        return None
    if not match[1]:
        length = min(int(match[2]), size)
        if length == 0:
            raise Unsatisfiable
        return size - length, size
    start = int(match[1])
    last = int(match[2]) if match[2] else size - 1
    if match[2] and last < start:
        return None
    if start >= size:
        raise Unsatisfiable
    return start, min(last, size - 1) + 1


class _Stretch:
    """`length` bytes of an open file from `start`, block by block; closes the file."""

    def __init__(self, file: Any, start: int, length: int) -> None:
        self.file, self.start, self.length = file, start, length

    def __iter__(self) -> Iterator[bytes]:
        if not self.length:
            return
        # An object in S3 is asked for just this stretch: opened as a file it would be
        # fetched whole for every range.
        if stored_object := getattr(self.file, "obj", None):
            last = self.start + self.length - 1
            body = stored_object.get(Range=f"bytes={self.start}-{last}")["Body"]
            try:
                yield from body.iter_chunks(BLOCK_BYTES)
            finally:
                body.close()
            return
        self.file.seek(self.start)
        left = self.length
        while left and (block := self.file.read(min(BLOCK_BYTES, left))):
            left -= len(block)
            yield block

    def close(self) -> None:
        self.file.close()

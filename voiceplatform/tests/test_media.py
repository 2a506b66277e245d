"""What a browser is given of a stored sound: on the file system and on S3."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage
from django.db.models.fields.files import FieldFile
from django.http import Http404
from django.test import RequestFactory
from storages.backends.s3 import S3Storage

from voiceplatform.media import BLOCK_BYTES, safe_file_name, serve_audio

# Closing a response lets Django look after its connections, open or not.
pytestmark = pytest.mark.django_db

SOUND = bytes(i * 7 % 251 for i in range(3 * BLOCK_BYTES + 123))
SIZE = len(SOUND)


@pytest.fixture(scope="module")
def s3_endpoint():
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(params=["files", "s3"])
def field_file(request, tmp_path):
    """A real file of a real storage behind a field, as a model instance has it."""
    if request.param == "files":
        storage = FileSystemStorage(tmp_path)
    else:
        access = {"access_key": "a", "secret_key": "b", "region_name": "us-east-1"}
        endpoint = request.getfixturevalue("s3_endpoint")
        storage = S3Storage(bucket_name="sounds", endpoint_url=endpoint, **access)
        storage.connection.meta.client.create_bucket(Bucket="sounds")
    name = storage.save("vocals/one.wav", ContentFile(SOUND))
    field = SimpleNamespace(storage=storage, name="vocal", attname="vocal")
    return FieldFile(SimpleNamespace(), field, name)


def get(field_file, method="get", download_name=None, **headers):
    request = getattr(RequestFactory(), method)("/sound", headers=headers)
    response = serve_audio(request, field_file, download_name=download_name)
    response.body = b"".join(response) if response.streaming else response.content
    response.close()
    return response


def test_whole_file_is_streamed_privately(field_file):
    response = get(field_file)
    assert response.status_code == 200
    assert response["Content-Type"] == "audio/wav"
    assert response["Content-Length"] == str(SIZE)
    assert response["Accept-Ranges"] == "bytes"
    assert response["Cache-Control"] == "private, no-cache"
    assert response["Vary"] == "Cookie, Authorization"
    assert "Content-Disposition" not in response
    assert response.body == SOUND


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-", 0, SIZE),
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        (
            f"bytes={BLOCK_BYTES - 5}-{BLOCK_BYTES + 5}",
            BLOCK_BYTES - 5,
            BLOCK_BYTES + 6,
        ),
        ("bytes=-100", SIZE - 100, SIZE),
        (f"bytes=-{10 * SIZE}", 0, SIZE),
        (f"bytes=5-{10 * SIZE}", 5, SIZE),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE),
        ("Bytes = 10-19", 10, 20),
    ],
)
def test_one_range_is_sent_as_asked(field_file, asked, start, end):
    response = get(field_file, range=asked)
    assert response.status_code == 206
    assert response["Content-Range"] == f"bytes {start}-{end - 1}/{SIZE}"
    assert response["Content-Length"] == str(end - start)
    assert response.body == SOUND[start:end]


@pytest.mark.parametrize("asked", [f"bytes={SIZE}-", f"bytes={SIZE + 9}-", "bytes=-0"])
def test_range_outside_the_file_is_refused_with_its_size(field_file, asked):
    response = get(field_file, range=asked)
    assert response.status_code == 416
    assert response["Content-Range"] == f"bytes */{SIZE}"
    assert response.body == b""


@pytest.mark.parametrize(
    "asked", ["bytes=", "bytes=-", "bytes=9-3", "bytes=a-b", "0-5", "bytes=0-1,4-5"]
)
def test_malformed_or_manifold_range_means_the_whole_file(field_file, asked):
    response = get(field_file, range=asked)
    assert response.status_code == 200
    assert response.body == SOUND


def test_if_range_ties_a_range_to_the_version(field_file):
    etag = get(field_file)["ETag"]
    assert get(field_file, range="bytes=0-9", if_range=etag).status_code == 206
    assert get(field_file, range="bytes=0-9", if_range='"other"').status_code == 200
    dated = "Mon, 23 Nov 2026 12:00:00 GMT"
    assert get(field_file, range="bytes=0-9", if_range=dated).status_code == 200


def test_a_known_version_is_not_sent_again(field_file):
    etag = get(field_file)["ETag"]
    response = get(field_file, if_none_match=f'"other", W/{etag}')
    assert response.status_code == 304
    assert response["ETag"] == etag
    assert get(field_file, if_none_match='"other"').status_code == 200


def test_head_tells_the_size_and_has_no_ranges(field_file):
    response = get(field_file, "head", range="bytes=0-9")
    assert response.status_code == 200
    assert response["Content-Length"] == str(SIZE)
    assert response["Accept-Ranges"] == "bytes"
    assert response.body == b""


def test_a_download_has_a_safe_name(field_file):
    response = get(field_file, download_name='Nuit d\'été / "two"\r\nX: y.wav')
    assert response["Content-Disposition"] == (
        "attachment; filename*=utf-8''Nuit%20d%27%C3%A9t%C3%A9%20two%20X%20y.wav"
    )
    response = get(field_file, download_name="My song.wav")
    assert response["Content-Disposition"] == 'attachment; filename="My song.wav"'


def test_safe_file_names_keep_their_extension():
    assert safe_file_name("a" * 300 + ".wav") == "a" * 96 + ".wav"
    assert safe_file_name("../../etc/passwd") == "etc passwd"
    assert safe_file_name("...") == "sound"


def test_a_missing_file_is_not_found(field_file):
    field_file.storage.delete(field_file.name)
    with pytest.raises(Http404):
        get(field_file)
    field_file.name = ""
    with pytest.raises(Http404):
        get(field_file)


def test_an_empty_file_has_no_range():
    from django.core.files.storage import InMemoryStorage

    storage = InMemoryStorage()
    name = storage.save("empty.wav", ContentFile(b""))
    field = SimpleNamespace(storage=storage, name="vocal", attname="vocal")
    empty = FieldFile(SimpleNamespace(), field, name)
    assert get(empty).body == b""
    assert get(empty, range="bytes=0-").status_code == 416

"""The outbox and the sweep on an S3 server, over HTTP."""

from __future__ import annotations

from datetime import timedelta

import boto3
import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from moto.server import ThreadedMotoServer

from consent import erasing
from consent.models import Erasure, ErasureReceipt
from consent.verifying import verify_chain

from .chain import Chain

pytestmark = pytest.mark.django_db


@pytest.fixture
def bucket(settings, monkeypatch):
    """The names of what is stored, asked of the server itself."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    place = {"endpoint_url": f"http://{host}:{port}", "region_name": "us-east-1"}
    client = boto3.client("s3", **place)
    client.create_bucket(Bucket="ownvoice-test")
    settings.STORAGES = settings.STORAGES | {
        "default": {
            "BACKEND": "storages.backends.s3.S3Storage",
            "OPTIONS": {
                "bucket_name": "ownvoice-test",
                "default_acl": "private",
                "file_overwrite": False,
                **place,
            },
        }
    }

    def names():
        listed = client.list_objects_v2(Bucket="ownvoice-test")
        return {item["Key"] for item in listed.get("Contents", [])}

    yield names
    client.close()
    server.stop()


def test_files_in_a_bucket_are_swept_erased_and_confirmed_gone(
    bucket, owner, stranger, monkeypatch
):
    chain, other = Chain(owner), Chain(stranger)
    kept = {
        other.take.audio.name,
        other.model.checkpoint.name,
        other.sample.audio.name,
        other.generation.vocal.name,
        other.mixdown.audio.name,
    }
    orphan = default_storage.save("vocals/orphan.wav", ContentFile(b"sound"))
    assert len(bucket()) == 11
    assert list(verify_chain()) == []

    # Everything is older than the future.
    monkeypatch.setattr(erasing, "ORPHAN_AGE", timedelta(minutes=-1))
    assert list(verify_chain()) == [f"Stored file {orphan} belongs to no row"]
    assert erasing.sweep_files() == 1
    chain.take.delete()
    erasing.erase_due()
    assert bucket() == kept
    assert not Erasure.objects.filter(erased_at=None).exists()
    assert ErasureReceipt.objects.get().completed_at is not None

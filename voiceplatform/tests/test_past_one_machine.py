"""PostgreSQL, Redis and S3 by environment variables alone: the same code, real servers.

The S3 server is moto's, over HTTP, as django-storages meets any other.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import urllib.error
import urllib.request

import boto3
import pytest
from moto.server import ThreadedMotoServer

from voiceplatform.testing.postgres import postgresql
from voiceplatform.testing.serving import free_port, make_site, serve, wait_for

pytestmark = pytest.mark.machines

#: moto keeps the buckets of one process together: no other test may use this name.
BUCKET = "ownvoice-machines"
REGION = "eu-central-1"
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


@contextlib.contextmanager
def redis(folder):
    server = shutil.which("redis-server")
    assert server, "Redis is missing: apt-get install redis-server"
    port = free_port()
    process = subprocess.Popen(
        [server, "--port", str(port), "--bind", "127.0.0.1", "--save", ""],
        cwd=folder,
        stdout=subprocess.DEVNULL,
    )
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def s3():
    server = ThreadedMotoServer("127.0.0.1", free_port(), verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@pytest.fixture(scope="module")
def machines(tmp_path_factory):
    """(site, bucket): a served site whose data, queue and files are elsewhere."""
    folder = tmp_path_factory.mktemp("machines")
    with postgresql() as database_url, redis(folder) as redis_url, s3() as s3_url:
        bucket = boto3.resource(
            "s3",
            endpoint_url=s3_url,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        ).create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        site = make_site(
            folder / "var",
            DATABASE_URL=database_url,
            REDIS_URL=redis_url,
            S3_BUCKET=BUCKET,
            S3_ENDPOINT_URL=s3_url,
            S3_REGION=REGION,
            **KEYS,
        )
        with serve(site) as serving:
            yield serving, bucket


MAKE_TAKE = """
import json
from pathlib import Path
from django.conf import settings
from django.test import Client
from django.urls import reverse
from voiceplatform.testing import factories
from voiceplatform.testing.people import make_user
from generation.mixing_down import ask_for_mix

user = make_user("far@example.com")
song = factories.make_song(user, beat="{beat}")
take = factories.make_generation(user, song=song, waveform=factories.make_tone(20.0))
mix = ask_for_mix(take)
client = Client()
client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
print(json.dumps({
    "mix": mix.pk,
    "vocal": take.vocal.name,
    "audio_url": reverse("generation:vocal_audio", args=[Path(take.vocal.name).stem]),
    "cookie": f"{settings.SESSION_COOKIE_NAME}="
              + client.cookies[settings.SESSION_COOKIE_NAME].value,
}))
"""

MIX = """
import json
from generation.models import Mixdown
mix = Mixdown.objects.get(pk={pk})
print(json.dumps([mix.status, mix.error, mix.audio.name, mix.loudness_lufs]))
"""


def test_a_job_goes_through_redis_and_its_files_through_s3(machines):
    serving, bucket = machines
    site = serving.site
    made = json.loads(site.shell(MAKE_TAKE.replace("{beat}", "")).splitlines()[-1])

    def mix():
        return json.loads(site.shell(MIX.format(pk=made["mix"])).splitlines()[-1])

    wait_for(lambda: mix()[0] not in ("queued", "running"), 120, serving)

    status, error, audio, loudness = mix()
    assert (status, error) == ("done", "")
    assert loudness == pytest.approx(-14, abs=1)
    stored = {item.key for item in bucket.objects.all()}
    assert {audio, made["vocal"]} <= stored
    assert not (site.var_dir / "media").exists()
    assert not (site.var_dir / "db.sqlite3").exists()

    whole = bucket.Object(made["vocal"]).get()["Body"].read()
    request = urllib.request.Request(
        serving.url + made["audio_url"],
        headers={"Cookie": made["cookie"], "Range": "bytes=1000-1999"},
    )
    with urllib.request.urlopen(request) as response:
        assert response.status == 206
        assert response.headers["Content-Range"] == f"bytes 1000-1999/{len(whole)}"
        assert response.read() == whole[1000:2000]


def test_a_file_in_the_bucket_has_no_public_door(machines):
    serving, bucket = machines
    serving.site.shell(
        "from django.core.files.base import ContentFile\n"
        "from django.core.files.storage import default_storage\n"
        "default_storage.save('takes/a.wav', ContentFile(b'RIFF'))"
    )
    grants = bucket.Object("takes/a.wav").Acl().grants
    # A grant to everybody names a group by its URI instead of an owner.
    assert ["URI" in grant["Grantee"] for grant in grants] == [False]

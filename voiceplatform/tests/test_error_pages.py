from django.test import Client
from django.urls import path

from voiceplatform import urls as real_urls
from voiceplatform.views import server_error


def breaks(request):
    raise RuntimeError("on purpose")


urlpatterns = [path("breaks/", breaks), *real_urls.urlpatterns]
handler404, handler500 = real_urls.handler404, real_urls.handler500


def test_a_wrong_address_is_answered_in_words(client, db):
    page = client.get("/nothing/of/the/kind/")
    assert page.status_code == 404
    assert "There is nothing here" in page.text


def test_a_fault_of_ours_says_what_was_kept(settings, db):
    settings.ROOT_URLCONF = __name__
    page = Client(raise_request_exception=False).get("/breaks/")
    assert page.status_code == 500
    assert "What you had already saved is safe" in page.text


def test_the_page_for_our_faults_needs_no_database(rf):
    # Without the db fixture any query fails.
    page = server_error(rf.get("/"))
    assert "Something broke on our side" in page.content.decode()


def test_a_form_without_its_token_is_told_what_to_do(db):
    page = Client(enforce_csrf_checks=True).post("/account/login/", {"login": "x"})
    assert page.status_code == 403
    assert "Please send that again" in page.text

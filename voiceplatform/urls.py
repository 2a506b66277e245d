from django.contrib import admin
from django.urls import include, path
from django.utils.module_loading import autodiscover_modules

from .api import router
from .views import home

autodiscover_modules("api")  # each app registers its viewsets with the router

urlpatterns = [
    path("", home, name="home"),
    path("admin/", admin.site.urls),
    path("account/", include("accounts.urls")),
    path("account/", include("allauth.urls")),
    path("record/", include("recordings.urls")),
    path("voices/", include("voices.urls")),
    path("songs/", include("generation.urls")),
    path("fx/", include("fxchains.urls")),
    path("my-data/", include("consent.urls")),
    path("api/v1/", include((router.urls, "api"))),
    path("api/v1/", include("recordings.api_urls")),
]
handler404 = "voiceplatform.views.not_found"
handler500 = "voiceplatform.views.server_error"

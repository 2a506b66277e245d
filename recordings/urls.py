from django.urls import path

from . import (
    api,  # noqa: F401  (puts its viewsets on the router)
    views,
)

app_name = "recordings"
urlpatterns = [
    path("", views.home, name="home"),
    path("begin/<slug:slug>/", views.session_begin, name="begin"),
    path("<int:pk>/", views.session, name="session"),
    path("<int:pk>/microphone/", views.microphone, name="microphone"),
    path("<int:pk>/consent/", views.spoken_consent, name="spoken_consent"),
    path("<int:pk>/delete/", views.session_delete, name="session_delete"),
    path("takes/<int:pk>/", views.take, name="take"),
    path("takes/<int:pk>/delete/", views.take_delete, name="take_delete"),
    path("takes/<uuid:name>.wav", views.take_audio, name="take_audio"),
]

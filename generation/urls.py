from django.urls import path

from . import views

app_name = "generation"
urlpatterns = [
    path("", views.song_list, name="song_list"),
    path("<int:pk>/", views.song_detail, name="song_detail"),
    path("<int:pk>/lines/", views.song_lines, name="song_lines"),
    path("<int:pk>/delete/", views.song_delete, name="song_delete"),
    path("takes/<int:pk>/", views.take_detail, name="take_detail"),
    path("takes/<int:pk>/stop/", views.take_stop, name="take_stop"),
    path("takes/<int:pk>/delete/", views.take_delete, name="take_delete"),
    path("mixes/<int:pk>/stop/", views.mix_stop, name="mix_stop"),
    path("vocals/<uuid:name>.wav", views.vocal_audio, name="vocal_audio"),
    path("mixes/<uuid:name>.wav", views.mix_audio, name="mix_audio"),
]

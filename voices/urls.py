from django.urls import path

from . import views

app_name = "voices"
urlpatterns = [
    path("", views.voice_list, name="list"),
    path("engine/", views.choose_engine, name="choose_engine"),
    path("<int:pk>/", views.voice_detail, name="detail"),
    path("<int:pk>/train/", views.voice_train, name="train"),
    path("<int:pk>/delete/", views.voice_delete, name="delete"),
    path("models/<int:pk>/delete/", views.model_delete, name="delete_model"),
    path("samples/<uuid:name>.wav", views.sample_audio, name="sample_audio"),
    path("training/<int:pk>/stop/", views.training_stop, name="stop"),
    path("training/<int:pk>/resume/", views.training_resume, name="resume"),
]

from django.urls import path

from . import (
    api,  # noqa: F401  (puts its viewsets on the router)
    views,
)

app_name = "fxchains"
urlpatterns = [
    path("", views.chain_list, name="list"),
    path("new/", views.chain_create, name="create"),
    path("<int:pk>/", views.chain_detail, name="detail"),
    path("<int:pk>/copy/", views.chain_copy, name="copy"),
    path("<int:pk>/describe/", views.chain_describe, name="describe"),
    path("<int:pk>/delete/", views.chain_delete, name="delete"),
    path("<int:pk>/steps/", views.step_add, name="step_add"),
    path("steps/<int:pk>/", views.step_update, name="step_update"),
    path("steps/<int:pk>/bypass/", views.step_bypass, name="step_bypass"),
    path("steps/<int:pk>/move/", views.step_move, name="step_move"),
    path("steps/<int:pk>/remove/", views.step_remove, name="step_remove"),
]

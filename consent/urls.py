from django.urls import path

from . import views

app_name = "consent"
urlpatterns = [
    path("", views.my_data, name="my_data"),
    path("statement/", views.statement, name="statement"),
    path("statement/<slug:vendor>/", views.vendor_statement, name="vendor_statement"),
    path("withdraw/<int:pk>/", views.withdraw, name="withdraw"),
    path("delete/everything/", views.delete_everything, name="delete_everything"),
    path("delete/<slug:kind>/<int:pk>/", views.delete, name="delete"),
    path("receipts/<uuid:reference>/", views.receipt, name="receipt"),
]

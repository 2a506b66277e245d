from django.urls import path

from . import api, live

app_name = "recordings-api"
urlpatterns = [
    path("record/tickets", live.IssueTicket.as_view(), name="tickets"),
    path("record/start", live.Start.as_view(), name="start"),
    path("record/chunks", live.AddChunk.as_view(), name="chunks"),
    path("record/finish", live.Finish.as_view(), name="finish"),
    path("record/verify-device", live.VerifyDevice.as_view(), name="verify-device"),
    path("voice/verify", api.VerifyTake.as_view(), name="verify-take"),
]

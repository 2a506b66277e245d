"""The recorder's side of intake, under /api/v1/record/: four requests a take.

POST tickets  {session, prompt}                             -> 201 {token, chunk_s, ...}
POST start    {encoding, sample_rate_hz, channels, device}  -> 200 {received}
POST chunks   raw PCM, X-Chunk-Sequence: 0, 1, ...          -> 200 {received}
POST finish   {chunks, samples, captured_s}                 -> 200 the take, its verdict

The first chunk of a spoken consent is answered with {words, say_within_s} too.

Before them, once a session and whenever its page opens:

POST verify-device  {session, device, report}  -> 200 {accepted, reasons, warnings, ...}

All of a take's but the first carry the token in X-Live-Ticket. Refusals answer with
{"code", "detail"}: the code for the recorder, the detail for the person. Only a
signed-in browser may record: API tokens read takes, they do not make them.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rest_framework import exceptions, serializers, status
from rest_framework.authentication import SessionAuthentication
from rest_framework.generics import get_object_or_404
from rest_framework.parsers import BaseParser, JSONParser
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from consent.granting import ConsentNeeded

from . import challenging, intake, starting
from .api import RecordingSerializer
from .models import LiveTicket, Prompt, RecordingSession
from .verification.device import DeviceReport, ReportInvalid

#: No chunk is larger: a second of two channels of 32-bit floats at the highest rate.
LARGEST_CHUNK_BYTES = round(
    intake.LONGEST_CHUNK_S * intake.SAMPLE_RATES_HZ[-1] * intake.MOST_CHANNELS * 4
)

STATUS_OF = {
    "consent_missing": status.HTTP_403_FORBIDDEN,
    "consent_outdated": status.HTTP_403_FORBIDDEN,
    "consent_unspoken": status.HTTP_403_FORBIDDEN,
    "consent_spoken": status.HTTP_409_CONFLICT,
    "challenge_late": status.HTTP_410_GONE,
    "recording_locked": status.HTTP_429_TOO_MANY_REQUESTS,
    "too_many_challenges": status.HTTP_429_TOO_MANY_REQUESTS,
    "ticket_expired": status.HTTP_410_GONE,
    "ticket_spent": status.HTTP_409_CONFLICT,
    "ticket_refused": status.HTTP_409_CONFLICT,
    "session_finished": status.HTTP_409_CONFLICT,
    "device_unverified": status.HTTP_409_CONFLICT,
    "device_changed": status.HTTP_409_CONFLICT,
    "device_settings_changed": status.HTTP_409_CONFLICT,
    "not_started": status.HTTP_409_CONFLICT,
    "format_changed": status.HTTP_409_CONFLICT,
    "out_of_order": status.HTTP_409_CONFLICT,
    "chunk_conflict": status.HTTP_409_CONFLICT,
    "chunks_missing": status.HTTP_409_CONFLICT,
    "chunk_too_large": status.HTTP_413_REQUEST_ENTITY_TOO_LARGE,
    "too_long": status.HTTP_413_REQUEST_ENTITY_TOO_LARGE,
    "too_fast": status.HTTP_429_TOO_MANY_REQUESTS,
    "disk_full": status.HTTP_507_INSUFFICIENT_STORAGE,
}


class PcmParser(BaseParser):
    """The body as it is, and never more of it than a chunk may hold."""

    media_type = "application/octet-stream"

    def parse(
        self, stream: Any, media_type: Any = None, parser_context: Any = None
    ) -> bytes:
        data = stream.read(LARGEST_CHUNK_BYTES + 1)
        if len(data) > LARGEST_CHUNK_BYTES:
            raise intake.Refused("chunk_too_large", "A part of the take is too large.")
        return data


class LiveView(APIView):
    authentication_classes = (SessionAuthentication,)
    permission_classes = (IsAuthenticated,)
    parser_classes = (JSONParser,)

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, intake.Refused):
            code = STATUS_OF.get(exc.code, status.HTTP_400_BAD_REQUEST)
            body = {"code": exc.code, "detail": exc.message} | exc.details
            return Response(body, status=code)
        if isinstance(exc, ConsentNeeded):
            detail = "Your consent is withdrawn, so nothing more is recorded."
            return Response(
                {"code": "consent_missing", "detail": detail},
                status=status.HTTP_403_FORBIDDEN,
            )
        if isinstance(exc, LiveTicket.DoesNotExist):
            # Unknown, another person's, or erased while it was being used.
            detail = (
                "This take cannot go on: its session is gone. Open the Record room "
                "again; what is listed there is safe."
            )
            return Response(
                {"code": "ticket_unknown", "detail": detail},
                status=status.HTTP_404_NOT_FOUND,
            )
        return super().handle_exception(exc)

    def ticket(self, request: Request) -> LiveTicket:
        return intake.find(request.user, request.headers.get("X-Live-Ticket", ""))


class TicketRequest(serializers.Serializer):
    session = serializers.IntegerField()
    prompt = serializers.IntegerField()


class IssueTicket(LiveView):
    def post(self, request: Request) -> Response:
        asked = _validated(TicketRequest, request)
        session = get_object_or_404(
            RecordingSession.objects.visible_to(request.user), pk=asked["session"]
        )
        prompt = get_object_or_404(
            Prompt.objects.filter(script=session.script_id), pk=asked["prompt"]
        )
        if prompt.kind == Prompt.Kind.CONSENT:
            ticket, token, _ = challenging.begin(session)
        else:
            ticket, token = intake.issue(session, prompt)
        answer = {
            "token": token,
            "chunk_s": intake.CHUNK_S,
            "longest_s": prompt.longest_s,
            "lives_s": (ticket.expires_at - ticket.issued_at).total_seconds(),
        }
        return Response(answer, status=status.HTTP_201_CREATED)


class DeviceField(serializers.Field):
    """An input as static/js/microphone.js describes it (verification/device.py)."""

    def to_internal_value(self, data: Any) -> DeviceReport:
        if not isinstance(data, dict):
            raise exceptions.ValidationError("Expected an object.")
        try:
            return DeviceReport.parse(data)
        except ReportInvalid as error:
            raise exceptions.ValidationError(str(error)) from None


class StartRequest(serializers.Serializer):
    encoding = serializers.CharField()
    sample_rate_hz = serializers.IntegerField()
    channels = serializers.IntegerField()
    device = DeviceField()


class Start(LiveView):
    def post(self, request: Request) -> Response:
        ticket = self.ticket(request)
        asked = _validated(StartRequest, request)
        intake.start(ticket, report=asked.pop("device"), **asked)
        return Response({"received": ticket.chunks})


class AddChunk(LiveView):
    parser_classes = (PcmParser,)

    def post(self, request: Request) -> Response:
        ticket = self.ticket(request)
        sequence = request.headers.get("X-Chunk-Sequence", "")
        if not (sequence.isascii() and sequence.isdecimal() and len(sequence) < 9):
            raise exceptions.ValidationError(
                {"X-Chunk-Sequence": "Expected the number of the chunk: 0, 1, 2, ..."}
            )
        data = request.data if isinstance(request.data, bytes) else b""
        is_consent = ticket.prompt.kind == Prompt.Kind.CONSENT
        if is_consent:
            challenging.keep_pace(ticket)
        intake.add_chunk(ticket, int(sequence), data)
        answer: dict[str, Any] = {"received": ticket.chunks}
        if is_consent and int(sequence) == 0:
            answer |= asdict(challenging.reveal(ticket))
        return Response(answer)


class FinishRequest(serializers.Serializer):
    chunks = serializers.IntegerField(min_value=0)
    samples = serializers.IntegerField(min_value=0)
    captured_s = serializers.FloatField(min_value=0)


class Finish(LiveView):
    def post(self, request: Request) -> Response:
        ticket = self.ticket(request)
        is_consent = ticket.prompt.kind == Prompt.Kind.CONSENT
        finish = challenging.finish if is_consent else intake.finish
        take = finish(ticket, **_validated(FinishRequest, request))
        return Response(RecordingSerializer(take, context={"request": request}).data)


class CheckField(serializers.Field):
    """What the check measured: its figures, and nothing else that was sent."""

    def to_internal_value(self, data: Any) -> dict[str, float]:
        if not isinstance(data, dict):
            raise exceptions.ValidationError("Expected an object.")
        return {
            name: data[name]
            for name in starting.CHECKED
            if isinstance(data.get(name), int | float) and abs(data[name]) < 1e9
        }


class VerifyRequest(serializers.Serializer):
    session = serializers.IntegerField()
    device = DeviceField()
    report = CheckField(required=False, default=dict)


class VerifyDevice(LiveView):
    """Whether the session may be recorded with this input, and if not, why."""

    def post(self, request: Request) -> Response:
        asked = _validated(VerifyRequest, request)
        session = get_object_or_404(
            RecordingSession.objects.visible_to(request.user).select_related(
                "grant__user"
            ),
            pk=asked["session"],
        )
        verified = starting.verify_device(session, asked["device"], asked["report"])
        return Response(
            {
                "accepted": verified.is_accepted,
                "reasons": [reason.as_dict() for reason in verified.refusals],
                "warnings": [reason.as_dict() for reason in verified.warnings],
                "microphone": verified.microphone.pk,
            }
        )


def _validated(serializer: type[serializers.Serializer], request: Request) -> dict:
    asked = serializer(data=request.data)
    asked.is_valid(raise_exception=True)
    return asked.validated_data

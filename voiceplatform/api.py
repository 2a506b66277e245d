"""The DRF router: each app registers its viewsets in its own api module."""

from rest_framework.routers import DefaultRouter

router = DefaultRouter()

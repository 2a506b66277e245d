from __future__ import annotations

from rest_framework.authentication import TokenAuthentication
from rest_framework.exceptions import AuthenticationFailed

from . import tokens
from .models import User


class ApiTokenAuthentication(TokenAuthentication):
    """`Authorization: Token own_…`, looked up by digest."""

    def authenticate_credentials(self, key: str) -> tuple[User, None]:
        user = tokens.owner_of(key)
        if user is None:
            raise AuthenticationFailed("This token is not known, or was revoked.")
        return user, None

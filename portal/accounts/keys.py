"""What a browser says of a security key, read without trust: allauth and fido2 break on some of what is no such thing."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from allauth.mfa.adapter import get_adapter
from allauth.mfa.webauthn import forms

_UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, struct.error)


@contextmanager
def _unreadable_is_wrong() -> Iterator[None]:
    try:
        yield
    except _UNREADABLE as error:
        raise get_adapter().validation_error("incorrect_code") from error


class AddKey(forms.AddWebAuthnForm):  # type: ignore[misc]  # the library has no stub
    def clean(self) -> dict[str, Any]:
        with _unreadable_is_wrong():
            cleaned: dict[str, Any] = super().clean()
        return cleaned


class AskKey(forms.AuthenticateWebAuthnForm):  # type: ignore[misc]
    def clean_credential(self) -> Any:
        with _unreadable_is_wrong():
            return super().clean_credential()


class AskKeyAgain(AskKey):
    reauthenticated = True

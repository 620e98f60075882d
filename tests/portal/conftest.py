"""The cast, for every test of the portal."""

from __future__ import annotations

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher

from tests.cast import Cast, make_cast

# A million rounds are for attackers; tests hash dozens of passwords.
PBKDF2PasswordHasher.iterations = 1_000


@pytest.fixture
def cast(db: None) -> Cast:
    return make_cast()

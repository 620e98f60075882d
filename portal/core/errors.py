"""The errors that reach a person. Each message says what to do. `portal.accounts.middleware.Errors` answers with `status`."""


class WinnowError(Exception):
    """Base of all errors that a person is told of."""

    status = 400
    code = "error"
    seconds: int | None = None
    """After how long it is worth trying again, where that is known."""

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code:
            self.code = code


class BadInput(WinnowError):
    """What was sent cannot be used; the message says what to send instead."""

    code = "bad_input"


class NotVisible(WinnowError):
    """Absent, or not this person's to see: the two are told apart nowhere."""

    status = 404
    code = "not_found"

    def __init__(self, message: str = "There is nothing here, or it is not yours to see.") -> None:
        super().__init__(message)


class NotAllowed(WinnowError):
    """Visible, but this person may not do that."""

    status = 403
    code = "not_allowed"


class WrongState(WinnowError):
    """Allowed in general, but not in the state that the thing is in now."""

    status = 409
    code = "wrong_state"

"""The two ways a caller can be told no: a value that cannot be, and a wish the rules refuse."""


class InvalidValue(ValueError):  # noqa: N818 - it names what the operator did
    """A field holds something impossible. Nothing has been written.

    `field` is the name an operator knows (an option, a column), `value` what was given (None: nothing),
    `allowed` what would be right.
    """

    def __init__(self, field: str, value: object, allowed: str) -> None:
        verdict = f": {allowed}" if allowed.startswith("there is no") else f" is not allowed; {allowed}"
        super().__init__(
            f"{field} is missing; {allowed}" if value is None else f"{field}: {value!r}{verdict}"
        )
        self.field = field
        self.value = value
        self.allowed = allowed


class Refused(Exception):  # noqa: N818 - an outcome the rules name, not a fault
    """The rules say no: not verified, not enough balance, already sold. `rule` is its number in docs/rules.md."""

    def __init__(self, message: str, rule: str) -> None:
        super().__init__(message)
        self.rule = rule

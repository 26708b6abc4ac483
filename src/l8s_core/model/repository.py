"""Where code comes from."""

from __future__ import annotations

from attrs import field, frozen


@frozen(kw_only=True)
class Repository:
    """A git repository to clone. ``url`` holds no credentials.

    A lone ``username`` may be a token, so it is hidden from the repr like the password.
    """

    url: str
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

"""A holder in a thread of this process: to try a backend as commands use one that is kept open between them.

    with keeping(profile, lambda profile: MyBackend(profile)) as kept:
        backend = kept.held()
        backend.open(Steps())

Its files are in ``~/.l8s/multiplex``, so give the test a HOME of its own, with a short path: there is a socket in it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from attrs import frozen

from l8s_core.contracts import RemoteBackend
from l8s_core.model import Profile
from l8s_core.multiplex import place as places
from l8s_core.multiplex.held import HeldBackend
from l8s_core.multiplex.holder import Holder
from l8s_core.multiplex.place import Place


@frozen
class Kept:
    """A holder for ``profile``."""

    profile: Profile
    place: Place
    _thread: threading.Thread

    def held(self, *, idle: float = 60.0) -> HeldBackend:
        """What a command uses in the place of the backend; not opened yet."""
        return HeldBackend(self.profile, idle=idle, third_party=False, environ={})

    @property
    def ended(self) -> bool:
        """Whether it has left."""
        return not self._thread.is_alive()


@contextmanager
def keeping(profile: Profile, make_backend: Callable[[Profile], RemoteBackend]) -> Iterator[Kept]:
    """A holder of what ``make_backend`` makes, until this ends or it leaves by itself."""
    places.prepare()
    place = Place.of(profile, third_party=False, environ={})
    lock = place.lock_descriptor()
    assert lock is not None, "there is a holder already"
    holder = Holder(place, places.listen(place.socket), lock, make_backend=make_backend)
    thread = threading.Thread(target=holder.serve, name="l8s-holder", daemon=True)
    thread.start()
    try:
        yield Kept(profile, place, thread)
    finally:
        holder.leave("it is not needed any more")
        thread.join(30)
        assert not thread.is_alive(), "the holder does not end"
        os.close(lock)

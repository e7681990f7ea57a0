"""The limits and windows that may change while a service runs, swapped as one object so that no call sees half."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Parameters:
    """Every limit of the domain; sizes in their own units, times in seconds."""

    # Lists.
    page_size: int = 50
    page_size_limit: int = 200
    # Clients of gRPC take messages of at most 4 MiB unless they are told otherwise, so a page may end early.
    page_bytes: int = 3 * 1024 * 1024

    # Calls. A caller on a phone gives up after some seconds; streams end within the hour and resume by their cursor.
    default_deadline_seconds: float = 10.0
    deadline_limit_seconds: float = 60.0
    # A request without a file in it, several times the largest that keeps the rules: the loop parses and judges it.
    request_bytes: int = 512 * 1024
    stream_deadline_seconds: float = 3600.0
    # Pool jobs that may wait for a thread; beyond it a call is better refused at once than late.
    queue_limit: int = 1000
    replay_retention_days: int = 30
    replay_forget_seconds: float = 3600.0

    # Caches: each for itself. No answer shows what was over that long before it was asked for; what is asked for again
    # is read anew in half that time, so that nobody waits.
    cache_seconds: float = 1.0
    cache_refresh_seconds: float = 0.5
    cache_entries: int = 10_000
    cache_bytes: int = 16 * 1024 * 1024

    # Drain: long enough for health watchers to look away, then for the calls under way, one server after the other.
    # With the statements that are then still under way it all ends before those 30 s after which processes are killed.
    drain_seconds: float = 2.0
    grace_seconds: float = 5.0
    stop_seconds: float = 10.0

    # Images.
    image_bytes: int = 8 * 1024 * 1024
    image_pixels: int = 40_000_000
    image_edge: int = 2048
    # As they are kept: a message holds one.
    image_kept_bytes: int = 3 * 1024 * 1024

    # Audit and publish. A message holds some snapshots, and a second's work judges one.
    snapshot_bytes: int = 512 * 1024
    audit_lease_seconds: int = 30
    sweep_seconds: float = 5.0
    # How soon an instance goes over to another lexicon, and how soon what was judged is judged again by it; a worker
    # that is not heard of for the lease has died, and another goes on where it was.
    lexicon_follow_seconds: float = 1.0
    reaudit_seconds: float = 1.0
    reaudit_lease_seconds: int = 30
    watch_poll_seconds: float = 0.5
    watch_heartbeat_seconds: float = 15.0
    # In one process: each stream asks the database twice a second.
    watch_streams_per_caller: int = 50

    # Share. A share mints its coupons in blocks.
    share_block_size: int = 20

    # Redeem. Tries that name no coupon of this store: a person's typing errors, not a machine's guesses.
    hold_seconds: int = 900
    code_tries_per_staff_minute: int = 30
    code_tries_per_store_minute: int = 120


_current = Parameters()


def current() -> Parameters:
    """The parameters in force; take them once a call."""
    return _current


def swap(new: Parameters) -> Parameters:
    """Put `new` in force for every call from now on; returns those it replaces."""
    global _current
    old, _current = _current, new
    return old

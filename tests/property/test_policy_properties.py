"""The remote-only rule, for every way to write an address."""

from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from l8s_core import policy
from l8s_core.model import MachineIdentity

_LOOPBACK = st.integers(0x7F000000, 0x7FFFFFFF)
_PUBLIC = st.integers(0x01000000, 0xDFFFFFFF).filter(lambda number: number >> 24 != 127)


@st.composite
def _v4_spellings(draw: st.DrawFn, numbers: st.SearchStrategy[int]) -> str:
    """Any form that inet_aton(3) takes: one to four parts, each decimal, octal or hexadecimal."""
    number = draw(numbers)
    parts = draw(st.integers(1, 4))
    head = [(number >> shift) & 0xFF for shift in (24, 16, 8)][: parts - 1]
    values = [*head, number & ((1 << (8 * (5 - parts))) - 1)]
    form = st.sampled_from(["{}", "0{:o}", "0x{:x}", "0X{:X}", "0x000{:x}"])
    return ".".join(draw(form).format(value) for value in values)


@st.composite
def _v6_holders(draw: st.DrawFn, numbers: st.SearchStrategy[int]) -> str:
    """An IPv6 address that holds an IPv4 one: mapped, compatible, 6to4, NAT64; in any notation."""
    number = draw(numbers)
    tail = draw(st.integers(0, 2**80 - 1))
    value = draw(
        st.sampled_from(
            [(0xFFFF << 32) | number, number, (0x2002 << 112) | (number << 80) | tail, (0x64FF9B << 96) | number]
        )
    )
    address = ipaddress.IPv6Address(value)
    dotted = f"::ffff:{ipaddress.IPv4Address(number)}" if value >> 32 == 0xFFFF else address.compressed
    text = draw(st.sampled_from([address.compressed, address.exploded, dotted]))
    return draw(st.sampled_from([text, text.upper(), f"[{text}]"]))


@given(_v4_spellings(_LOOPBACK), st.sampled_from(["", "."]))
def test_no_spelling_of_a_loopback_address_gets_through(host: str, dot: str) -> None:
    assert policy.local_name_reason(host + dot, ()) is not None


@given(_v6_holders(_LOOPBACK | st.integers(0, 0x00FFFFFF)))
def test_no_ipv6_address_that_holds_a_local_one_gets_through(host: str) -> None:
    assert policy.local_name_reason(host, ()) is not None


@given(_v4_spellings(_PUBLIC) | _v6_holders(_PUBLIC))
def test_addresses_of_other_machines_are_never_refused_by_spelling(host: str) -> None:
    assert policy.local_name_reason(host, ("laptop",)) is None


@given(st.integers(0x2000 << 112, (0x4000 << 112) - 1).filter(lambda number: number >> 112 != 0x2002))
def test_global_ipv6_addresses_are_never_refused_by_spelling(number: int) -> None:
    assert policy.local_name_reason(str(ipaddress.IPv6Address(number)), ()) is None


@given(
    name=st.from_regex(r"[a-z][a-z0-9-]{0,20}(\.[a-z]{2,8}){0,2}", fullmatch=True),
    upper=st.booleans(),
    dot=st.sampled_from(["", ".", ".."]),
)
def test_a_name_under_localhost_and_an_own_name_are_refused_in_any_case(name: str, upper: bool, dot: str) -> None:
    for host, own in ((f"{name}.localhost", ()), (name, (name,)), (name, (f"{name}.",))):
        assert policy.local_name_reason((host.upper() if upper else host) + dot, own) is not None


@given(
    after=st.floats(-1, 12) | st.sampled_from([-0.06, -0.05, 0.0, 10.05, 10.06]) | st.floats(-1e7, 1e7),
    sent=st.floats(0, 1e7),
    trip=st.floats(0, 10),
    same_kernel=st.booleans(),
)
def test_a_machine_is_the_same_only_by_kernel_and_moment(
    after: float, sent: float, trip: float, same_kernel: bool
) -> None:
    start = sent + after
    local = policy.LocalMachine(boot_id="here", kernel="k", machine_id="")
    remote = MachineIdentity(
        boot_id="there",
        kernel="k" if same_kernel else "other",
        process_start=start,
        machine_id="",
        sent=sent,
        received=sent + trip,
    )
    tolerance = policy.BOOT_MOMENT_TOLERANCE
    within = sent - tolerance <= start <= sent + trip + tolerance
    assert (policy.same_machine_reason(local, remote) is not None) == (same_kernel and within)


@given(st.text(max_size=60))
def test_any_text_is_judged_without_an_exception(host: str) -> None:
    reason = policy.local_name_reason(host, ("laptop",))
    assert reason is None or reason

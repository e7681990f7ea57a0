"""Plays the journey against services wherever they are, on the console, and says how to go on from there."""

import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import grpc

from services.chassis.settings import Settings
from services.chassis.tokens import DevIssuer
from services.journey import content, story, table
from services.journey.people import Person
from services.journey.scene import CAST

# Long enough for an evening of trying things out.
TRIAL_SECONDS = 24 * 3600


def play(addresses: Mapping[str, str], settings: Settings) -> bool:
    """Play the journey through the services at `addresses`; whether every step came out as expected."""
    issuer = DevIssuer.of(settings)
    with ExitStack() as open_until_played:
        channels = {
            name: open_until_played.enter_context(grpc.insecure_channel(address)) for name, address in addresses.items()
        }

        def person(name: str) -> Person:
            role, subject = CAST[name]
            return Person(name, channels, issuer.issue(role, subject) if role else "", locale="en")

        console = table.console()
        steps = story.play(person, datetime.now(ZoneInfo(content.ZONE)).date(), table.Shown(console))
        console.print(f"\n{table.summary(steps)}.")
    return all(step.is_expected for step in steps)


def say_where(addresses: Mapping[str, str], metrics_port: int, settings: Settings) -> None:
    """Print the addresses, and something to try with a token."""
    role, subject = CAST["Alice"]
    token = DevIssuer.of(settings).issue(role, subject, TRIAL_SECONDS)
    console = table.console()
    console.print("\nThe services stay up until Ctrl-C:")
    for name, address in addresses.items():
        console.print(f"  {name:<8} {address}")
    console.print(f"  {'metrics':<8} http://127.0.0.1:{metrics_port}/metrics")
    console.print("\nBe Alice for a day, and look into her wallet:")
    # Neither is wrapped: they are to be copied.
    console.print(f"  TOKEN={token}", soft_wrap=True)
    console.print(
        '  grpcurl -plaintext -H "authorization: Bearer $TOKEN" '
        f"{addresses['redeem']} sharemesh.v1.RedeemService/ListCoupons",
        soft_wrap=True,
    )
    console.print("\nNo grpcurl? go install github.com/fullstorydev/grpcurl/cmd/grpcurl@latest", soft_wrap=True)
    console.print(f"Anybody else: {_command()} token --role merchant --subject {CAST['Lin'][1]}", soft_wrap=True)


def _command() -> str:
    """How this program was called, to be typed again."""
    script = Path(sys.argv[0])
    return os.path.relpath(script) if script.name == "sharemesh" else "python -m services"

"""The journey: one offer from a blank form to the money it gave away, told through the public stubs."""

from collections.abc import Callable
from datetime import date

from services.journey import entering, publishing, redeeming, sharing
from services.journey.people import Person
from services.journey.scene import Scene
from services.journey.telling import JourneyEnded, Show, Step, Telling

PROLOGUE = (
    "Lin owns 川味小馆, a small Sichuan restaurant in Chengdu; Jie stands at its till. Alice and Bob are hungry. "
    "Mallory owns the place across the street, and is curious. Every step is one gRPC call, made and seen from "
    "outside. A refusal can be just what should happen: “expected?” tells."
)


def play(person: Callable[[str], Person], today: date, show: Show) -> list[Step]:
    """Play the journey on the day `today` (in Asia/Shanghai), with `person` giving each member of CAST; its steps.

    It ends early after a step that the following ones cannot do without.
    """
    scene = Scene(person, today, Telling(show))
    try:
        entering.enter(scene)
        publishing.publish(scene)
        sharing.share_and_claim(scene)
        redeeming.redeem(scene)
        redeeming.look_at_the_books(scene)
    except JourneyEnded:
        pass  # The step it ended with has been kept, and is not an expected one.
    return scene.telling.steps

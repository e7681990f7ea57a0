"""Who takes part in the journey, and what they hold in their hands while it goes on."""

from collections.abc import Callable
from datetime import date

from services.journey.people import Person
from services.journey.telling import Telling
from sharemesh.v1.redeem_pb2 import Coupon
from sharemesh.v1.share_pb2 import Share

# By the role and the subject of their tokens; the one without a role has no token.
CAST = {
    "Lin": ("MERCHANT", "lin"),
    "Mallory": ("MERCHANT", "mallory"),
    "Jie": ("STAFF", "jie"),
    "Alice": ("CUSTOMER", "alice"),
    "Bob": ("CUSTOMER", "bob"),
    "anybody": ("", ""),
}


class Scene:
    """The people, the day (in Asia/Shanghai), and the names that one chapter leaves for the next."""

    store: str
    activity: str
    publication: str
    alices: Coupon
    bobs: Coupon
    alices_share: Share

    def __init__(self, person: Callable[[str], Person], today: date, telling: Telling) -> None:
        self.today = today
        self.telling = telling
        self.lin, self.mallory, self.jie, self.alice, self.bob, self.anybody = map(person, CAST)

"""What the ledger must come to, reckoned on plain objects: one merchant, one thing after the other, no database."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from services.ledger.claims import Claim
from services.ledger.counter import Order

# All of these offers are in Shanghai, which is eight hours ahead all year.
AHEAD = timedelta(hours=8)
HOLD = timedelta(minutes=15)
CLOSED = {"SUSPENDED": "ACTIVITY_SUSPENDED", "WITHDRAWN": "ACTIVITY_WITHDRAWN"}


def day_of(now: datetime) -> date:
    return (now + AHEAD).date()


class Pseudonym(NamedTuple):
    """A customer until the next erasure."""

    subject: str
    life: int


class Reward(NamedTuple):
    amount: int
    cap: int
    budget: int


@dataclass
class Offer:
    """An activity's terms and what it has given; money is minor units, `percent` 0 means that `off` comes off."""

    stock: int
    per_customer: int
    last_day: date
    off: int
    threshold: int = 0
    percent: int = 0
    day_stock: int = 0
    budget: int | None = None
    days: int = 1
    window: timedelta = timedelta(hours=1)
    reward: Reward | None = None
    is_for_new: bool = False
    state: str = "LIVE"
    is_stopped: bool = False
    taken: int = 0
    redeemed: int = 0
    rewarded: int = 0
    by_day: Counter[date] = field(default_factory=Counter)


@dataclass
class Link:
    """A share."""

    sharer: Pseudonym
    is_customer: bool
    is_failed: bool = False


@dataclass
class Slip:
    """A coupon that is somebody's; `uid` and `code` are what the ledger told."""

    offer: int
    link: int
    holder: Pseudonym
    until: datetime
    state: str = "CLAIMED"
    uid: str = ""
    code: str = ""
    hold: str = ""
    hold_until: datetime | None = None
    hold_store: int = 0

    def is_held(self, now: datetime) -> bool:
        return self.hold_until is not None and now < self.hold_until


@dataclass
class Use:
    """A redemption; `earned` are the (offer, sharer, amount) of the rewards it holds."""

    slips: list[Slip]
    discount: int
    until: datetime
    uid: str = ""
    is_reversed: bool = False
    earned: list[tuple[int, Pseudonym, int]] = field(default_factory=list)


@dataclass
class Model:
    """Offers and shares by their ids, customers by their subjects."""

    store: int
    offers: dict[int, Offer] = field(default_factory=dict)
    links: dict[int, Link] = field(default_factory=dict)
    slips: list[Slip] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    claims: Counter[tuple[int, str]] = field(default_factory=Counter)
    lives: Counter[str] = field(default_factory=Counter)
    known: set[str] = field(default_factory=set)
    # Who had redeemed before an erasure.
    marked: set[str] = field(default_factory=set)
    earned: Counter[tuple[int, Pseudonym]] = field(default_factory=Counter)
    # Digest and outcome by (RPC, subject, request_id).
    told: dict[tuple[str, str, str], tuple[str, Slip | Use | str]] = field(default_factory=dict)

    def pseudonym(self, subject: str) -> Pseudonym:
        """Who the subject is, or will be by the next coupon."""
        return Pseudonym(subject, self.lives[subject] + (subject not in self.known))

    def meet(self, subject: str) -> Pseudonym:
        one = self.pseudonym(subject)
        self.lives[subject] = one.life
        self.known.add(subject)
        return one

    def erase(self, subject: str) -> None:
        if subject in self.known:
            if self.is_old(self.pseudonym(subject)):
                self.marked.add(subject)
            self.known.discard(subject)

    def is_old(self, one: Pseudonym) -> bool:
        """Whether who goes by this name has redeemed here; a name from before an erasure has its own uses only."""
        standing = (slip for use in self.uses if not use.is_reversed for slip in use.slips)
        is_marked = one.subject in self.marked and one == self.pseudonym(one.subject)
        return is_marked or any(slip.holder == one for slip in standing)

    def claim(self, wish: Claim, now: datetime) -> Slip | str:
        """The coupon, or the reason of the refusal."""
        subject = wish.call.principal.subject
        key = wish.call.rpc, subject, wish.call.request_id
        if key in self.told:
            digest, first = self.told[key]
            return first if digest == wish.call.digest and isinstance(first, Slip) else "REQUEST_ID_REUSED"
        link = None if wish.via is None else self.links[wish.via.id]
        refusal = self._why_no_claim(wish.activity_id, link, subject, now)
        if refusal:
            return refusal
        offer = self.offers[wish.activity_id]
        midnight = datetime.combine(day_of(now), datetime.min.time(), UTC) - AHEAD
        until = midnight + timedelta(days=offer.days + 1)
        slip = Slip(wish.activity_id, 0 if wish.via is None else wish.via.id, self.meet(subject), until)
        self.slips.append(slip)
        self.claims[wish.activity_id, subject] += 1
        offer.taken += 1
        offer.by_day[day_of(now)] += 1
        self.told[key] = wish.call.digest, slip
        return slip

    def _why_no_claim(self, offer_id: int, link: Link | None, subject: str, now: datetime) -> str:
        offer, one = self.offers.get(offer_id), self.pseudonym(subject)
        if offer is None:
            return "ACTIVITY_NOT_PUBLISHED"
        if link is not None and link.is_failed:
            return "SHARE_CLOSED"
        refused = {
            CLOSED.get(offer.state, ""): offer.state != "LIVE",
            "ACTIVITY_ENDED": day_of(now) > offer.last_day,
            "ISSUING_STOPPED": offer.is_stopped,
            "SELF_REFERRAL": link is not None and link.sharer == one,
            "NEW_CUSTOMERS_ONLY": offer.is_for_new and self.is_old(one),
            "CUSTOMER_LIMIT_REACHED": self.claims[offer_id, subject] >= offer.per_customer,
            "STOCK_EXHAUSTED": offer.taken >= offer.stock,
            "DAY_STOCK_EXHAUSTED": bool(offer.day_stock) and offer.by_day[day_of(now)] >= offer.day_stock,
            "BUDGET_EXHAUSTED": offer.budget is not None and (offer.taken + 1) * offer.off > offer.budget,
        }
        return next((reason for reason, is_so in refused.items() if is_so), "")

    def redeem(self, order: Order, now: datetime) -> Use | str:
        """The redemption, or the reason of the refusal."""
        key = order.call.rpc, order.call.principal.subject, order.call.request_id
        if key in self.told:
            digest, first = self.told[key]
            return first if digest == order.call.digest and isinstance(first, Use) else "REQUEST_ID_REUSED"
        verdicts = self.judge(order, order.hold, now)
        refusal = next((one for one in verdicts if isinstance(one, str)), None)
        if refusal is not None:
            return refusal
        slips = [slip for code in order.codes for slip in self.slips if slip.code == code]
        window = min(self.offers[slip.offer].window for slip in slips)
        use = Use(slips, sum(one for one in verdicts if isinstance(one, int)), now + window)
        for slip in self.slips:
            if slip in slips or (order.hold and slip.hold == order.hold):
                slip.hold, slip.hold_until = "", None
        for slip in slips:
            slip.state = "REDEEMED"
            self.offers[slip.offer].redeemed += 1
            self._earn(slip, use)
        self.uses.append(use)
        self.told[key] = order.call.digest, use
        return use

    def _earn(self, slip: Slip, use: Use) -> None:
        offer, link = self.offers[slip.offer], self.links.get(slip.link)
        if link is None or not link.is_customer or link.sharer == slip.holder or offer.reward is None:
            return
        due = offer.reward
        if self.earned[slip.offer, link.sharer] < due.cap and offer.rewarded + due.amount <= due.budget:
            self.earned[slip.offer, link.sharer] += 1
            offer.rewarded += due.amount
            use.earned.append((slip.offer, link.sharer, due.amount))

    def judge(self, order: Order, hold: str, now: datetime) -> list[int | str]:
        """What comes off by each code in minor units, or the reason why it is not taken."""
        by_code = {slip.code: slip for slip in self.slips}
        verdicts: list[int | str] = [self._presented(by_code.get(code), order, hold, now) for code in order.codes]
        first_visits: set[Pseudonym] = set()
        for place, code in enumerate(order.codes):
            if not verdicts[place] and self.offers[by_code[code].offer].is_for_new:
                if by_code[code].holder in first_visits:
                    verdicts[place] = "NOT_STACKABLE"
                first_visits.add(by_code[code].holder)
        usable = [place for place, verdict in enumerate(verdicts) if verdict == ""]
        offers = {place: self.offers[by_code[order.codes[place]].offer] for place in usable}
        left = sum(line.quantity * line.unit_price for line in order.basket)
        for place in sorted(usable, key=lambda place: bool(offers[place].percent)):
            offer, off = offers[place], 0
            if order.basket and left < offer.threshold:
                verdicts[place] = "BELOW_THRESHOLD"
                continue
            if order.basket:
                off = min(offer.off, (left * offer.percent + 50) // 100) if offer.percent else offer.off
            verdicts[place] = off
            left -= off
        return verdicts

    def _presented(self, slip: Slip | None, order: Order, hold: str, now: datetime) -> str:
        if slip is None:
            return "COUPON_REFUSED"
        is_held, mine = slip.is_held(now), slip.hold == hold and slip.hold_store == order.store.id
        refused = {
            "COUPON_VOID": slip.state == "VOID",
            "COUPON_REDEEMED": slip.state == "REDEEMED",
            "COUPON_EXPIRED": now >= slip.until,
            "HOLD_NOT_FOUND": bool(hold) and not (is_held and mine),
            "COUPON_HELD": is_held and slip.hold != hold,
            "STORE_NOT_IN_SCOPE": order.store.id != self.store,
            "NEW_CUSTOMERS_ONLY": self.offers[slip.offer].is_for_new and self.is_old(slip.holder),
        }
        return next((reason for reason, is_so in refused.items() if is_so), "")

    def hold(self, order: Order, named: str, now: datetime) -> tuple[list[int | str], str]:
        """The verdicts, and the hold that there is now; a new one is `named` so."""
        key = order.call.rpc, order.call.principal.subject, order.call.request_id
        shown = [slip for slip in self.slips if slip.code in order.codes]
        if key in self.told:
            first = str(self.told[key][1])
            on = first if any(slip.hold == first and slip.is_held(now) for slip in shown) else ""
            return self.judge(order, on, now), on
        verdicts = self.judge(order, "", now)
        if any(isinstance(one, str) for one in verdicts):
            return verdicts, ""
        for slip in shown:
            slip.hold, slip.hold_until, slip.hold_store = named, now + HOLD, order.store.id
        self.told[key] = order.call.digest, named
        return verdicts, named

    def release(self, held: str, now: datetime) -> str:
        slips = [slip for slip in self.slips if slip.hold == held and slip.is_held(now)]
        for slip in slips:
            slip.hold, slip.hold_until = "", None
        return "" if slips else "HOLD_NOT_FOUND"

    def reverse(self, use: Use, now: datetime) -> str:
        if use.is_reversed:
            return "ALREADY_REVERSED"
        if now >= use.until:
            return "REVERSAL_CLOSED"
        use.is_reversed = True
        for slip in use.slips:
            slip.state = "CLAIMED"
            self.offers[slip.offer].redeemed -= 1
        for offer, sharer, amount in use.earned:
            self.earned[offer, sharer] -= 1
            self.offers[offer].rewarded -= amount
        return ""

    def void(self, slip: Slip) -> str:
        if slip.state != "CLAIMED":
            return f"COUPON_{slip.state}"
        slip.state, slip.hold, slip.hold_until = "VOID", "", None
        return ""

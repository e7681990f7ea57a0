"""Receipts of redemptions that were committed before, read again as they are now."""

import json
from collections.abc import Collection, Sequence
from typing import TypeAlias

from services.chassis.script import Row, Statement
from services.ledger.records import Part, Receipt, instant

# Digest of the request and receipt of its redemption, by the request's key; None for one that was no redemption.
Receipts: TypeAlias = dict[str, tuple[str, Receipt | None]]

_REDEMPTIONS = (
    "SELECT r.id, r.uid, m.uid, s.uid, r.order_id, r.terminal, r.operator, r.use_time, r.currency, r.order_amount, "
    "r.discount, r.reverse_until, r.reverse_time, r.reverse_reason FROM redemption r "
    "JOIN merchant m ON m.id = r.merchant_id JOIN store s ON s.id = r.store_id WHERE r.uid IN ?"
)
_PARTS = (
    "SELECT r.uid, c.uid, a.uid, h.uid, p.discount, p.gifts FROM redemption r "
    "JOIN redeemed_coupon p ON p.redemption_id = r.id JOIN coupon c ON c.id = p.coupon_id "
    "JOIN activity a ON a.id = p.activity_id LEFT JOIN share h ON h.id = p.share_id WHERE r.uid IN ? ORDER BY p.id"
)


def asked(uids: Collection[str]) -> list[Statement]:
    """What to ask for the receipts of these redemptions; nothing for none."""
    wanted = tuple(sorted(uids))
    return [Statement(_REDEMPTIONS, (wanted,)), Statement(_PARTS, (wanted,))] if wanted else []


def by_key(replays: Sequence[Row], answers: Sequence[Sequence[Row]]) -> Receipts:
    """The receipts of (key, digest, uid), from what was answered to asked(the uids)."""
    if not answers:
        return {}
    redemptions, parts = answers
    receipts = {row[1]: _receipt(row) for row in redemptions}
    for uid, coupon, activity, share, discount, gifts in parts:
        receipts[uid].parts.append(Part(coupon, activity, share or "", discount, json.loads(gifts)))
    return {key: (digest, receipts.get(uid)) for key, digest, uid in replays}


def _receipt(row: Row) -> Receipt:
    receipt = Receipt(*row)
    receipt.use_time, receipt.reverse_until = instant(row[7]), instant(row[11])
    receipt.reverse_time = None if row[12] is None else instant(row[12])
    return receipt

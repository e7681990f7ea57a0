"""What the journey's people enter: a small Sichuan restaurant, its hot pot coupon, and what its guests eat."""

import io
from datetime import date, timedelta

from google.protobuf.duration_pb2 import Duration
from google.type.date_pb2 import Date
from google.type.money_pb2 import Money
from PIL import Image, ImageDraw

from sharemesh.v1.entry_pb2 import Activity, Store
from sharemesh.v1.promotion_pb2 import (
    AmountOff,
    Benefit,
    HotItem,
    Period,
    Reward,
    Scope,
    Stacking,
    Terms,
    Validity,
)
from sharemesh.v1.redeem_pb2 import BasketLine

ZONE = "Asia/Shanghai"
STOCK = 50
RAISED_STOCK = 80
# The merchant's item codes, with what a customer reads and the price in fen.
MENU = {
    "HOTPOT-01": ("牛油锅底", 6800),
    "FISH-07": ("水煮鱼", 8800),
    "RICE-01": ("米饭", 200),
    "PLUM-02": ("酸梅汤", 1600),
}

# 全城最低价 is a claim that the advertising law forbids. The description is written so that a plain word list overlooks
# it: another claim in traditional characters with a star between, a cure in pinyin, and a contact in other digits.
ILLEGAL_TITLE = "全城最低价！春熙路火锅满减"
ILLEGAL_DESCRIPTION = "選用頂★級牛油，汤底gen治胃病；订座加薇❤信，或打①③⑧零零零零壹贰叁肆。"
TITLE = "春熙路火锅满减"
DESCRIPTION = "自家厨房每日现炒牛油锅底，满100元减20元，满200元减50元。"


def yuan(fen: int) -> Money:
    """So many fen as Money."""
    return Money(currency_code="CNY", units=fen // 100, nanos=fen % 100 * 10_000_000)


def picture() -> bytes:
    """A JPEG of a two-flavour hot pot, seen from above."""
    image = Image.new("RGB", (640, 480), "#f3e3c7")
    draw = ImageDraw.Draw(image)
    draw.ellipse((140, 60, 500, 420), fill="#3a3a3a")
    draw.pieslice((160, 80, 480, 400), 90, 270, fill="#b5231a")
    draw.pieslice((160, 80, 480, 400), 270, 450, fill="#f7efd8")
    for x, y in ((230, 160), (260, 250), (220, 300), (285, 190)):
        draw.ellipse((x, y, x + 14, y + 14), fill="#5a0f0a")
    file = io.BytesIO()
    image.save(file, "JPEG")
    return file.getvalue()


def store(merchant: str, image: str) -> Store:
    """The shop, with the picture over its menu."""
    hot = [
        HotItem(item=code, title=title, price=yuan(price), image=image if code == "HOTPOT-01" else "")
        for code, (title, price) in MENU.items()
    ]
    return Store(
        merchant=merchant,
        display_name="川味小馆·春熙路店",
        description="开在巷子里的川菜馆，二十张桌子。",
        address="成都市锦江区春熙路中段12号",
        phone="028-8000 1234",
        zone=ZONE,
        city="成都",
        category="餐饮",
        hot_items=hot,
        images=[image],
    )


def terms(store: str, today: date) -> Terms:
    """20 off 100 and 50 off 200 for a month, one for each customer, and 5 yuan for who brings a friend."""
    tiers = [(10_000, 2_000), (20_000, 5_000)]
    return Terms(
        benefit=Benefit(
            amount_off=AmountOff(tiers=[AmountOff.Tier(threshold=yuan(from_), off=yuan(off)) for from_, off in tiers])
        ),
        zone=ZONE,
        claim_period=Period(start_date=day(today), end_date=day(today + timedelta(days=30))),
        validity=Validity(days_after_claim=30),
        stock=STOCK,
        per_customer=1,
        budget=yuan(500_000),
        scope=Scope(stores=[store]),
        stacking=Stacking(mode=Stacking.MODE_NONE),
        reversal_window=Duration(seconds=24 * 3600),
        reward=Reward(amount=yuan(500), cap_per_sharer=10, hold_days=7, budget=yuan(50_000)),
    )


def activity(merchant: str, template: str, store: str, image: str, today: date) -> Activity:
    """The offer as a merchant in a hurry first writes it: its words break the law."""
    entered = Activity(
        merchant=merchant,
        template=template,
        title=ILLEGAL_TITLE,
        description=ILLEGAL_DESCRIPTION,
        images=[image],
        terms=terms(store, today),
    )
    entered.fields.update(
        {
            "headline": "满100减20，满200减50",
            "suitable_items": "全店锅底、川菜、饮品",
            "dining": "DINE_IN",
            "appointment_needed": False,
            "notes": "可开发票；包间费另计",
        }
    )
    return entered


def basket(**quantities: int) -> list[BasketLine]:
    """An order: so many units of each item of the menu, named as in MENU with _ for -."""
    return [
        BasketLine(item=code, quantity=quantities[key], unit_price=yuan(price))
        for code, (_, price) in MENU.items()
        if (key := code.replace("-", "_")) in quantities
    ]


def day(date_: date) -> Date:
    """A calendar day as the wire has it."""
    return Date(year=date_.year, month=date_.month, day=date_.day)


def text_of(money: Money) -> str:
    """An amount for a person, such as ¥20.00."""
    fen = money.units * 100 + money.nanos // 10_000_000
    return f"¥{fen // 100}.{fen % 100:02}"


def forged(code: str) -> str:
    """A coupon code with its last digit changed, as somebody who guesses would have it."""
    return code[:-1] + str((int(code[-1]) + 1) % 10)

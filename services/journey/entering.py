"""The first chapter: a restaurant, its store and staff, and an offer in a hurry."""

from services.journey import content, readings
from services.journey.scene import CAST, Scene
from services.journey.telling import new_request
from sharemesh.v1 import entry_pb2

TEMPLATE = "templates/amount-off"


def enter(scene: Scene) -> None:
    """The merchant enters the business, the shop, its staff, and an offer whose words break the law."""
    scene.telling.show.chapter("Entering: the restaurant and its offer")
    does, lin = scene.telling.does, scene.lin.entry
    business = entry_pb2.Merchant(display_name="川味小馆", currency="CNY")
    merchant = does(
        "Lin",
        "enters the business, 川味小馆",
        lin.CreateMerchant,
        entry_pb2.CreateMerchantRequest(merchant=business, request_id=new_request()),
    ).name
    picture = content.picture()
    image = does(
        "Lin",
        f"uploads a picture of the hot pot ({len(picture) // 1024} KiB)",
        lin.UploadImage,
        entry_pb2.UploadImageRequest(merchant=merchant, content=picture, request_id=new_request()),
        lambda kept: f"{kept.width}x{kept.height} {kept.content_type}",
        "640x480 image/jpeg",
    ).name
    shop = content.store(merchant, image)
    scene.store = does(
        "Lin",
        f"opens the store {shop.display_name}",
        lin.CreateStore,
        entry_pb2.CreateStoreRequest(store=shop, request_id=new_request()),
    ).name
    rights = ("VERIFY", "REDEEM", "REVERSE", "SHARE")
    bind = entry_pb2.BindStaffRequest(
        store=scene.store,
        subject=CAST["Jie"][1],
        display_name="阿杰",
        title="店长",
        is_shown=True,
        rights=[entry_pb2.StaffRight.Value(f"STAFF_RIGHT_{right}") for right in rights],
        request_id=new_request(),
    )
    does("Lin", f"gives Jie rights there: {', '.join(rights).lower()}", lin.BindStaff, bind)
    template = does(
        "Lin",
        "picks a form: amount off above a threshold",
        lin.GetTemplate,
        entry_pb2.GetTemplateRequest(name=TEMPLATE),
        lambda form: form.benefit,
        "amount_off",
    )
    asked = [(f.label.en, f.hint.en, f.example.en) for f in template.fields if f.is_required]
    scene.telling.show.evidence("What the form asks for", [("label", "hint", "example"), *asked])
    draft = content.activity(merchant, TEMPLATE, scene.store, image, scene.today)
    scene.activity = does(
        "Lin",
        f"fills it in, in a hurry: {draft.title}",
        lin.CreateActivity,
        entry_pb2.CreateActivityRequest(activity=draft, request_id=new_request()),
        readings.state,
        "DRAFT",
    ).name

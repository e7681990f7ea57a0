"""EntryService on the wire."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from google.api.httpbody_pb2 import HttpBody
from google.protobuf.empty_pb2 import Empty

from services.chassis.call import current
from services.chassis.database import Database
from services.chassis.keys import Keyring
from services.chassis.wire import to_message, to_plain
from services.entry.domain import activities, images, merchants, staff, stores, templates
from services.entry.gallery import Gallery
from sharemesh.v1 import entry_pb2, entry_pb2_grpc
from sharemesh.v1.promotion_pb2 import Snapshot


class Servicer(entry_pb2_grpc.EntryServiceServicer):
    """Unpacks, asks the domain, packs. `images` is the fsspec URL of the image store."""

    def __init__(self, db: Database, clock: Callable[[], datetime], keys: Keyring, images: str) -> None:
        self.db = db
        self.clock = clock
        self.gallery = Gallery(images)

    async def install(self) -> None:
        """Enter the built-in templates, as this release has them."""
        await self.db.run(templates.install, self.clock())

    def close(self) -> None:
        """End the threads of the image store."""
        self.gallery.close()

    async def CreateMerchant(self, request: entry_pb2.CreateMerchantRequest, context: Any) -> entry_pb2.Merchant:
        row = await self.db.run(merchants.create_merchant, current(), to_plain(request), now=self.clock())
        return to_message(entry_pb2.Merchant, row)

    async def GetMerchant(self, request: entry_pb2.GetMerchantRequest, context: Any) -> entry_pb2.Merchant:
        row = await self.db.run(merchants.get_merchant, current(), to_plain(request))
        return to_message(entry_pb2.Merchant, row)

    async def ListMerchants(
        self, request: entry_pb2.ListMerchantsRequest, context: Any
    ) -> entry_pb2.ListMerchantsResponse:
        page = await self.db.run(merchants.list_merchants, current(), to_plain(request))
        return to_message(entry_pb2.ListMerchantsResponse, page)

    async def UpdateMerchant(self, request: entry_pb2.UpdateMerchantRequest, context: Any) -> entry_pb2.Merchant:
        row = await self.db.run(merchants.update_merchant, current(), to_plain(request), now=self.clock())
        return to_message(entry_pb2.Merchant, row)

    async def CreateStore(self, request: entry_pb2.CreateStoreRequest, context: Any) -> entry_pb2.Store:
        row = await self.db.run(stores.create_store, current(), to_plain(request), now=self.clock())
        return to_message(entry_pb2.Store, row)

    async def GetStore(self, request: entry_pb2.GetStoreRequest, context: Any) -> entry_pb2.Store:
        row = await self.db.run(stores.get_store, current(), to_plain(request))
        return to_message(entry_pb2.Store, row)

    async def ListStores(self, request: entry_pb2.ListStoresRequest, context: Any) -> entry_pb2.ListStoresResponse:
        page = await self.db.run(stores.list_stores, current(), to_plain(request))
        return to_message(entry_pb2.ListStoresResponse, page)

    async def UpdateStore(self, request: entry_pb2.UpdateStoreRequest, context: Any) -> entry_pb2.Store:
        row = await self.db.run(stores.update_store, current(), to_plain(request), now=self.clock())
        return to_message(entry_pb2.Store, row)

    async def BindStaff(self, request: entry_pb2.BindStaffRequest, context: Any) -> entry_pb2.StaffBinding:
        row = await self.db.run(staff.bind_staff, current(), to_plain(request), now=self.clock())
        return to_message(entry_pb2.StaffBinding, row)

    async def UnbindStaff(self, request: entry_pb2.UnbindStaffRequest, context: Any) -> Empty:
        row = await self.db.run(staff.unbind_staff, current(), to_plain(request), now=self.clock())
        return to_message(Empty, row)

    async def ListStaff(self, request: entry_pb2.ListStaffRequest, context: Any) -> entry_pb2.ListStaffResponse:
        page = await self.db.run(staff.list_staff, current(), to_plain(request))
        return to_message(entry_pb2.ListStaffResponse, page)

    async def CreateTemplate(self, request: entry_pb2.CreateTemplateRequest, context: Any) -> entry_pb2.Template:
        row = await self.db.run(templates.create_template, current(), to_plain(request), now=self.clock())
        return to_message(entry_pb2.Template, row)

    async def GetTemplate(self, request: entry_pb2.GetTemplateRequest, context: Any) -> entry_pb2.Template:
        row = await self.db.run(templates.get_template, current(), to_plain(request))
        return to_message(entry_pb2.Template, row)

    async def ListTemplates(
        self, request: entry_pb2.ListTemplatesRequest, context: Any
    ) -> entry_pb2.ListTemplatesResponse:
        page = await self.db.run(templates.list_templates, current(), to_plain(request))
        return to_message(entry_pb2.ListTemplatesResponse, page)

    async def CreateActivity(self, request: entry_pb2.CreateActivityRequest, context: Any) -> entry_pb2.Activity:
        row = await self.db.run(activities.create_activity, current(), to_plain(request), now=self.clock())
        return to_message(entry_pb2.Activity, row)

    async def GetActivity(self, request: entry_pb2.GetActivityRequest, context: Any) -> entry_pb2.Activity:
        row = await self.db.run(activities.get_activity, current(), to_plain(request))
        return to_message(entry_pb2.Activity, row)

    async def ListActivities(
        self, request: entry_pb2.ListActivitiesRequest, context: Any
    ) -> entry_pb2.ListActivitiesResponse:
        page = await self.db.run(activities.list_activities, current(), to_plain(request))
        return to_message(entry_pb2.ListActivitiesResponse, page)

    async def UpdateActivity(self, request: entry_pb2.UpdateActivityRequest, context: Any) -> entry_pb2.Activity:
        row = await self.db.run(activities.update_activity, current(), to_plain(request), now=self.clock())
        return to_message(entry_pb2.Activity, row)

    async def DeleteActivity(self, request: entry_pb2.DeleteActivityRequest, context: Any) -> Empty:
        row = await self.db.run(activities.delete_activity, current(), to_plain(request), now=self.clock())
        return to_message(Empty, row)

    async def PreviewActivity(self, request: entry_pb2.PreviewActivityRequest, context: Any) -> Snapshot:
        row = await self.db.run(activities.preview_activity, current(), to_plain(request))
        return to_message(Snapshot, row)

    async def UploadImage(self, request: entry_pb2.UploadImageRequest, context: Any) -> entry_pb2.Image:
        plain = to_plain(request)
        await self.db.run(images.check_owner, current(), plain)
        picture = await self.gallery.keep(request.content)
        row = await self.db.run(images.keep_image, current(), plain, picture, now=self.clock())
        return to_message(entry_pb2.Image, row)

    async def GetImage(self, request: entry_pb2.GetImageRequest, context: Any) -> HttpBody:
        uid, content_type = await self.db.run(images.find_image, current(), to_plain(request))
        return HttpBody(content_type=content_type, data=await self.gallery.read(uid))

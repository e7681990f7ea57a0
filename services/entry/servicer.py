"""EntryService on the wire."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from google.api.httpbody_pb2 import HttpBody
from google.protobuf.empty_pb2 import Empty

from services.chassis.call import current
from services.chassis.database import Database
from services.chassis.keys import Keyring
from services.chassis.wire import packed, to_plain
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
        return await self.db.run(
            packed(entry_pb2.Merchant, merchants.create_merchant), current(), to_plain(request), now=self.clock()
        )

    async def GetMerchant(self, request: entry_pb2.GetMerchantRequest, context: Any) -> entry_pb2.Merchant:
        return await self.db.run(packed(entry_pb2.Merchant, merchants.get_merchant), current(), to_plain(request))

    async def ListMerchants(
        self, request: entry_pb2.ListMerchantsRequest, context: Any
    ) -> entry_pb2.ListMerchantsResponse:
        return await self.db.run(
            packed(entry_pb2.ListMerchantsResponse, merchants.list_merchants), current(), to_plain(request)
        )

    async def UpdateMerchant(self, request: entry_pb2.UpdateMerchantRequest, context: Any) -> entry_pb2.Merchant:
        return await self.db.run(
            packed(entry_pb2.Merchant, merchants.update_merchant), current(), to_plain(request), now=self.clock()
        )

    async def CreateStore(self, request: entry_pb2.CreateStoreRequest, context: Any) -> entry_pb2.Store:
        return await self.db.run(
            packed(entry_pb2.Store, stores.create_store), current(), to_plain(request), now=self.clock()
        )

    async def GetStore(self, request: entry_pb2.GetStoreRequest, context: Any) -> entry_pb2.Store:
        return await self.db.run(packed(entry_pb2.Store, stores.get_store), current(), to_plain(request))

    async def ListStores(self, request: entry_pb2.ListStoresRequest, context: Any) -> entry_pb2.ListStoresResponse:
        return await self.db.run(packed(entry_pb2.ListStoresResponse, stores.list_stores), current(), to_plain(request))

    async def UpdateStore(self, request: entry_pb2.UpdateStoreRequest, context: Any) -> entry_pb2.Store:
        return await self.db.run(
            packed(entry_pb2.Store, stores.update_store), current(), to_plain(request), now=self.clock()
        )

    async def BindStaff(self, request: entry_pb2.BindStaffRequest, context: Any) -> entry_pb2.StaffBinding:
        return await self.db.run(
            packed(entry_pb2.StaffBinding, staff.bind_staff), current(), to_plain(request), now=self.clock()
        )

    async def UnbindStaff(self, request: entry_pb2.UnbindStaffRequest, context: Any) -> Empty:
        return await self.db.run(packed(Empty, staff.unbind_staff), current(), to_plain(request), now=self.clock())

    async def ListStaff(self, request: entry_pb2.ListStaffRequest, context: Any) -> entry_pb2.ListStaffResponse:
        return await self.db.run(packed(entry_pb2.ListStaffResponse, staff.list_staff), current(), to_plain(request))

    async def CreateTemplate(self, request: entry_pb2.CreateTemplateRequest, context: Any) -> entry_pb2.Template:
        return await self.db.run(
            packed(entry_pb2.Template, templates.create_template), current(), to_plain(request), now=self.clock()
        )

    async def GetTemplate(self, request: entry_pb2.GetTemplateRequest, context: Any) -> entry_pb2.Template:
        return await self.db.run(packed(entry_pb2.Template, templates.get_template), current(), to_plain(request))

    async def ListTemplates(
        self, request: entry_pb2.ListTemplatesRequest, context: Any
    ) -> entry_pb2.ListTemplatesResponse:
        return await self.db.run(
            packed(entry_pb2.ListTemplatesResponse, templates.list_templates), current(), to_plain(request)
        )

    async def CreateActivity(self, request: entry_pb2.CreateActivityRequest, context: Any) -> entry_pb2.Activity:
        return await self.db.run(
            packed(entry_pb2.Activity, activities.create_activity), current(), to_plain(request), now=self.clock()
        )

    async def GetActivity(self, request: entry_pb2.GetActivityRequest, context: Any) -> entry_pb2.Activity:
        return await self.db.run(packed(entry_pb2.Activity, activities.get_activity), current(), to_plain(request))

    async def ListActivities(
        self, request: entry_pb2.ListActivitiesRequest, context: Any
    ) -> entry_pb2.ListActivitiesResponse:
        return await self.db.run(
            packed(entry_pb2.ListActivitiesResponse, activities.list_activities), current(), to_plain(request)
        )

    async def UpdateActivity(self, request: entry_pb2.UpdateActivityRequest, context: Any) -> entry_pb2.Activity:
        return await self.db.run(
            packed(entry_pb2.Activity, activities.update_activity), current(), to_plain(request), now=self.clock()
        )

    async def DeleteActivity(self, request: entry_pb2.DeleteActivityRequest, context: Any) -> Empty:
        return await self.db.run(
            packed(Empty, activities.delete_activity), current(), to_plain(request), now=self.clock()
        )

    async def PreviewActivity(self, request: entry_pb2.PreviewActivityRequest, context: Any) -> Snapshot:
        return await self.db.run(packed(Snapshot, activities.preview_activity), current(), to_plain(request))

    async def UploadImage(self, request: entry_pb2.UploadImageRequest, context: Any) -> entry_pb2.Image:
        plain = to_plain(request)
        await self.db.run(images.check_owner, current(), plain)
        picture = await self.gallery.keep(request.content)
        return await self.db.run(
            packed(entry_pb2.Image, images.keep_image), current(), plain, picture, now=self.clock()
        )

    async def GetImage(self, request: entry_pb2.GetImageRequest, context: Any) -> HttpBody:
        uid, content_type = await self.db.run(images.find_image, current(), to_plain(request))
        return HttpBody(content_type=content_type, data=await self.gallery.read(uid))

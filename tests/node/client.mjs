// Claims, verifies and redeems a coupon as a native app would, from the .proto files alone; prints what it got as JSON.
import { loadSync } from "@grpc/proto-loader";
import grpc from "@grpc/grpc-js";
import protobuf from "protobufjs";

const given = JSON.parse(process.argv[2]);
const definition = loadSync(["sharemesh/v1/share.proto", "sharemesh/v1/redeem.proto"], {
  includeDirs: [given.protos],
  keepCase: true,
  longs: String,
  enums: String,
  defaults: true,
  oneofs: true,
});
const { ShareService, RedeemService } = grpc.loadPackageDefinition(definition).sharemesh.v1;

// What an error's details are packed in.
const details = new protobuf.Root();
details.resolvePath = (_, target) => (target.startsWith("/") ? target : `${given.protos}/${target}`);
details.loadSync(["google/rpc/status.proto", "google/rpc/error_details.proto"]);

function reasonOf(error) {
  const [raw] = error.metadata.get("grpc-status-details-bin");
  const status = details.lookupType("google.rpc.Status").decode(raw);
  const info = status.details.find((detail) => detail.type_url.endsWith("/google.rpc.ErrorInfo"));
  return details.lookupType("google.rpc.ErrorInfo").decode(info.value).reason;
}

function bearer(Service, address, token) {
  const stub = new Service(address, grpc.credentials.createInsecure());
  const metadata = new grpc.Metadata();
  metadata.set("authorization", `Bearer ${token}`);
  return (method, request) =>
    new Promise((resolve, reject) => {
      const options = { deadline: Date.now() + 20_000 };
      stub[method](request, metadata, options, (error, answer) => (error ? reject(error) : resolve(answer)));
    });
}

async function refused(call) {
  try {
    await call;
  } catch (error) {
    return { code: grpc.status[error.code], reason: reasonOf(error) };
  }
  throw new Error("was not refused");
}

const alice = bearer(ShareService, given.share, given.customer);
const jie = bearer(RedeemService, given.redeem, given.staff);
const yuan = (units) => ({ currency_code: "CNY", units, nanos: 0 });
const basket = [
  { item: "水煮鱼", quantity: 1, unit_price: yuan(88) },
  { item: "酸梅汤", quantity: 2, unit_price: yuan(16) },
];

const coupon = await alice("ClaimCoupon", { activity: given.activity, request_id: "node-claim-1" });
const verified = await jie("VerifyCoupon", {
  store: given.store,
  codes: [coupon.code],
  basket,
  hold_coupons: true,
  request_id: "node-verify-1",
});
const use = {
  store: given.store,
  codes: [coupon.code],
  basket,
  hold: verified.hold,
  order_id: "N-0001",
  terminal: "node",
  request_id: "node-redeem-1",
};
const redemption = await jie("RedeemCoupon", use);
const again = await jie("RedeemCoupon", use);
const second = await refused(jie("RedeemCoupon", { ...use, hold: "", order_id: "N-0002", request_id: "node-redeem-2" }));
const stranger = await refused(bearer(RedeemService, given.redeem, "no token")("ListCoupons", {}));

console.log(JSON.stringify({ coupon, verified, redemption, again, second, stranger }));
process.exit(0);

package interop;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.ErrorInfo;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.ForwardingClientCall.SimpleForwardingClientCall;
import io.grpc.ForwardingClientCallListener.SimpleForwardingClientCallListener;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import io.grpc.xds.XdsChannelCredentials;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.SocketAddress;
import java.nio.channels.ClosedChannelException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;
import sharemesh.v1.Redeem.GetOfferRequest;
import sharemesh.v1.Redeem.ListOffersRequest;
import sharemesh.v1.ShareOuterClass.ListShareableRequest;
import sharemesh.v1.ShareOuterClass.RecordVisitRequest;
import sharemesh.v1.RedeemServiceGrpc;
import sharemesh.v1.ShareServiceGrpc;

/**
 * Calls two services by grpc-java's own xDS resolver: a line "rpc argument..." on its input, a line "rpc status reason
 * count instance" on its output. Everything about the mesh it knows from GRPC_XDS_BOOTSTRAP_CONFIG.
 */
public final class Client {
  /** A call of this mesh takes milliseconds; the first one loads half of grpc-java, on a busy machine for many seconds. */
  private static final long CALL_SECONDS = 20;

  /** Who answered the last call, "-" if nobody did. */
  private static volatile String instance = "-";

  public static void main(String[] arguments) throws Exception {
    ManagedChannel toRedeem = open("redeem");
    ManagedChannel toShare = open("share");
    BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = input.readLine(); line != null; line = input.readLine()) {
      String[] words = line.split(" ");
      System.out.println(words[0] + " " + told(() -> call(words, toRedeem, toShare)) + " " + instance);
    }
    for (ManagedChannel channel : new ManagedChannel[] {toRedeem, toShare}) {
      channel.shutdownNow().awaitTermination(CALL_SECONDS, TimeUnit.SECONDS);
    }
  }

  private static ManagedChannel open(String service) {
    return Grpc.newChannelBuilder(
            "xds:///" + service, XdsChannelCredentials.create(InsecureChannelCredentials.create()))
        .intercept(new Peers())
        .build();
  }

  /** How many the answer lists. */
  private static int call(String[] words, ManagedChannel toRedeem, ManagedChannel toShare) {
    var redeem = RedeemServiceGrpc.newBlockingStub(toRedeem).withDeadlineAfter(CALL_SECONDS, TimeUnit.SECONDS);
    var share = ShareServiceGrpc.newBlockingStub(toShare).withDeadlineAfter(CALL_SECONDS, TimeUnit.SECONDS);
    switch (words[0]) {
      case "ListOffers":
        return redeem.listOffers(ListOffersRequest.getDefaultInstance()).getOffersCount();
      case "ListShareable":
        return share.listShareable(ListShareableRequest.getDefaultInstance()).getShareablesCount();
      case "GetOffer":
        redeem.getOffer(GetOfferRequest.newBuilder().setActivity(words[1]).build());
        return 1;
      case "RecordVisit":
        share.recordVisit(
            RecordVisitRequest.newBuilder()
                .setShareCode(words[1])
                .setVisitorId(words[2])
                .setRequestId(words[2])
                .build());
        return 1;
      default:
        throw new IllegalArgumentException(words[0]);
    }
  }

  /** "OK - count", or the status, the reason in ErrorInfo ("-" if there is none) and 0. */
  private static String told(Supplier<Integer> call) {
    instance = "-";
    try {
      return "OK - " + answered(call);
    } catch (StatusRuntimeException refused) {
      if (List.of(Status.Code.UNAVAILABLE, Status.Code.UNKNOWN).contains(refused.getStatus().getCode())) {
        refused.printStackTrace();
      }
      return refused.getStatus().getCode() + " " + reason(refused) + " 0";
    }
  }

  /**
   * The call's answer, asked for again as docs/stubs.md tells apps to: when a connection breaks just as a call is written
   * to it, grpc-java's status is UNKNOWN (grpc/grpc-java#10120), which a mesh's retry policy cannot name.
   */
  private static int answered(Supplier<Integer> call) {
    try {
      return call.get();
    } catch (StatusRuntimeException refused) {
      if (refused.getStatus().getCode() == Status.Code.UNKNOWN && refused.getCause() instanceof ClosedChannelException) {
        return call.get();
      }
      throw refused;
    }
  }

  private static String reason(StatusRuntimeException refused) {
    com.google.rpc.Status status = StatusProto.fromThrowable(refused);
    try {
      for (Any detail : status == null ? List.<Any>of() : status.getDetailsList()) {
        if (detail.is(ErrorInfo.class)) {
          return detail.unpack(ErrorInfo.class).getReason();
        }
      }
    } catch (InvalidProtocolBufferException damaged) {
      return damaged.getClass().getSimpleName();
    }
    return "-";
  }

  /** Remembers who answered. */
  private static final class Peers implements ClientInterceptor {
    @Override
    public <Q, A> ClientCall<Q, A> interceptCall(MethodDescriptor<Q, A> method, CallOptions options, Channel next) {
      return new SimpleForwardingClientCall<>(next.newCall(method, options)) {
        @Override
        public void start(Listener<A> listener, Metadata headers) {
          super.start(
              new SimpleForwardingClientCallListener<>(listener) {
                @Override
                public void onClose(Status status, Metadata trailers) {
                  SocketAddress address = getAttributes().get(Grpc.TRANSPORT_ATTR_REMOTE_ADDR);
                  instance = address == null ? "-" : address.toString().replaceFirst("^.*/", "");
                  super.onClose(status, trailers);
                }
              },
              headers);
        }
      };
    }
  }

  private Client() {}
}

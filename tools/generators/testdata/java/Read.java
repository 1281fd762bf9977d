import io.github.clerkgate.v1.GetQuotaRequest;
import io.github.clerkgate.v1.GetUserRequest;
import io.github.clerkgate.v1.QuotaServiceGrpc;
import io.github.clerkgate.v1.User;
import io.github.clerkgate.v1.UserServiceGrpc;
import io.github.clerkgate.v1.UserView;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Metadata;
import io.grpc.StatusRuntimeException;
import java.util.concurrent.TimeUnit;

/** Reads a user with the code that protoc and grpc_java_plugin generated: Read ADDRESS USER_ID. */
class Read {
  public static void main(String[] args) {
    ManagedChannel channel = ManagedChannelBuilder.forTarget(args[0]).usePlaintext().build();
    UserServiceGrpc.UserServiceBlockingStub users =
        UserServiceGrpc.newBlockingStub(channel).withDeadlineAfter(30, TimeUnit.SECONDS);
    QuotaServiceGrpc.QuotaServiceBlockingStub quota =
        QuotaServiceGrpc.newBlockingStub(channel).withDeadlineAfter(30, TimeUnit.SECONDS);

    GetUserRequest request = GetUserRequest.newBuilder().setUserId(args[1]).build();
    User user = users.getUser(request).getUser();
    User full =
        users.getUser(request.toBuilder().setView(UserView.USER_VIEW_FULL).build()).getUser();
    System.out.println(user.getId());
    System.out.println(user.getFirstName());
    System.out.println(user.getEmailAddresses(0).getEmailAddress());
    System.out.println(
        user.getCreatedAt().getSeconds() * 1000 + user.getCreatedAt().getNanos() / 1_000_000);
    System.out.println(
        "private: " + user.hasPrivateMetadataJson() + " " + full.hasPrivateMetadataJson());
    try {
      users.getUser(GetUserRequest.newBuilder().setUserId("user_nobody").build());
    } catch (StatusRuntimeException e) {
      System.out.println(
          e.getStatus().getCode()
              + " "
              + e.getTrailers()
                  .get(Metadata.Key.of("clerkgate-reason", Metadata.ASCII_STRING_MARSHALLER)));
    }
    System.out.println(quota.getQuota(GetQuotaRequest.getDefaultInstance()).getQuota().getLimit());
    channel.shutdownNow();
  }
}

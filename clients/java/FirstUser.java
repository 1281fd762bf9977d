import io.github.clerkgate.v1.GetUserRequest;
import io.github.clerkgate.v1.UserServiceGrpc;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import java.util.concurrent.TimeUnit;

/** Prints a user's first name: FirstUser USER_ID [ADDRESS]. */
class FirstUser {
  public static void main(String[] args) {
    String address = args.length > 1 ? args[1] : "127.0.0.1:9090";
    ManagedChannel channel = ManagedChannelBuilder.forTarget(address).usePlaintext().build();
    try {
      UserServiceGrpc.UserServiceBlockingStub users = UserServiceGrpc.newBlockingStub(channel);
      GetUserRequest request = GetUserRequest.newBuilder().setUserId(args[0]).build();
      System.out.println(users.withDeadlineAfter(10, TimeUnit.SECONDS).getUser(request).getUser().getFirstName());
    } finally {
      channel.shutdownNow();
    }
  }
}

// Reads a user with the code that protoc-gen-es generated.
// usage: node read.js ADDRESS USER_ID

import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { timestampMs } from "@bufbuild/protobuf/wkt";

import { QuotaService } from "./clerkgate/v1/quota_service_pb.js";
import type { User } from "./clerkgate/v1/user_pb.js";
import { UserService, UserView } from "./clerkgate/v1/user_service_pb.js";

const [address, userId] = process.argv.slice(2);
const transport = createGrpcTransport({ baseUrl: `http://${address}`, defaultTimeoutMs: 30_000 });
const users = createClient(UserService, transport);
const quota = createClient(QuotaService, transport);

async function read(view?: UserView): Promise<User> {
  const { user } = await users.getUser({ userId, view });
  if (user === undefined) {
    throw new Error("no user");
  }
  return user;
}

const user = await read();
const full = await read(UserView.FULL);
// What Clerk may leave out must be typed so.
const firstName: string | undefined = user.firstName;
console.log(user.id);
console.log(firstName);
console.log(user.emailAddresses[0]?.emailAddress);
console.log(user.createdAt && timestampMs(user.createdAt));
console.log("private:", user.privateMetadataJson !== undefined, full.privateMetadataJson !== undefined);
try {
  await users.getUser({ userId: "user_nobody" });
} catch (error) {
  const failure = ConnectError.from(error);
  console.log(failure.code === Code.NotFound ? "NOT_FOUND" : failure.code, failure.metadata.get("clerkgate-reason"));
}
const limit: number | undefined = (await quota.getQuota({})).quota?.limit;
console.log(limit);

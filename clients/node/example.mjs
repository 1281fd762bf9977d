// Prints some users of a clerkgate server: node example.mjs [ADDRESS]
import { ClerkgateError, createClient } from "@clerkgate/client";

const clerk = createClient(process.argv[2] ?? "127.0.0.1:9090", { caller: "example", timeoutMs: 5_000 });

// The newest users.
const ids = [];
for await (const user of clerk.listUsers({ pageSize: 3 })) {
  console.log(user.id, user.firstName, user.primaryEmailAddress, user.publicMetadata);
  if (ids.push(user.id) === 3) {
    break;
  }
}

// Many at once; each id has a user or an error.
const { users, errors } = await clerk.batchGetUsers([...ids, "user_nobody"]);
console.log(users.size, "found,", [...errors].map(([id, { reason }]) => `${id}: ${reason}`).join());

// One that does not exist, and any other trouble.
try {
  await clerk.getUser("user_nobody");
} catch (error) {
  if (!(error instanceof ClerkgateError)) {
    throw error;
  }
  console.log(error.code === "NOT_FOUND" ? "not found" : `${error.reason}: retry after ${error.retryAfterMs} ms`);
}

// Requests of your own to Clerk, under the same quota.
await clerk.withPermits(1, async (lease) => {
  // Change the user at Clerk here, within lease.remainingMs.
  lease.changedUserIds.push(ids[0]);
});

let count = 0;
for await (const _ of clerk.streamUsers()) {
  count++;
}
console.log(count, "users,", (await clerk.getQuota()).available, "requests left");
clerk.close();

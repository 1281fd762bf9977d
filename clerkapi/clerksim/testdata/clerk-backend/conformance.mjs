// Makes calls to Clerk's official Node SDK and prints what became of each.
//
//   node conformance.mjs '[{"url": …, "key": …, "method": "getUser", "args": […]}, …]'
//
// prints a JSON array of {"value": …} or {"error": {status, errors, clerkTraceId, retryAfter}}.
import { createClerkClient } from '@clerk/backend';

const results = [];
for (const { url, key, method, args = [] } of JSON.parse(process.argv[2])) {
  const { users } = createClerkClient({ apiUrl: url, secretKey: key });
  try {
    results.push({ value: await users[method](...args) });
  } catch ({ message, status, errors, clerkTraceId, retryAfter }) {
    results.push({ error: { message, status, errors, clerkTraceId, retryAfter } });
  }
}
console.log(JSON.stringify(results));

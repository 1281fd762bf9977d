// What both kinds of clients export.
export type { BatchResult } from "./batch.js";
export {
  type Caller,
  type CallOptions,
  Client,
  type ClientOptions,
  type ListOptions,
  type PermitOptions,
  type Priority,
  type Quota,
  type ReadOptions,
  type StreamOptions,
  type UnreadableUser,
  type Usage,
} from "./client.js";
export { ClerkgateError, NotReleasedError, type Reason, type StatusCode } from "./errors.js";
export { Breaker_State, Key_State, SharedQuota_Decider } from "./gen/clerkgate/v1/quota_service_pb.js";
export { ErrorReason, Origin, ServedFrom } from "./gen/clerkgate/v1/user_service_pb.js";
export type { Lease } from "./lease.js";
export type { Filter, JsonObject, Plain } from "./plain.js";
export type { Freshness, User } from "./user.js";

import { fromBinary } from "@bufbuild/protobuf";
import { DurationSchema, durationMs } from "@bufbuild/protobuf/wkt";
import { BinaryReader } from "@bufbuild/protobuf/wire";
import { Code, ConnectError } from "@connectrpc/connect";

import { ErrorReason, type LookupError } from "./gen/clerkgate/v1/user_service_pb.js";

/** The name of a gRPC status code. */
export type StatusCode =
  | "CANCELLED"
  | "UNKNOWN"
  | "INVALID_ARGUMENT"
  | "DEADLINE_EXCEEDED"
  | "NOT_FOUND"
  | "ALREADY_EXISTS"
  | "PERMISSION_DENIED"
  | "RESOURCE_EXHAUSTED"
  | "FAILED_PRECONDITION"
  | "ABORTED"
  | "OUT_OF_RANGE"
  | "UNIMPLEMENTED"
  | "INTERNAL"
  | "UNAVAILABLE"
  | "DATA_LOSS"
  | "UNAUTHENTICATED";

/** The name of a reason of the server, such as `"BREAKER_OPEN"`. */
export type Reason = Exclude<keyof typeof ErrorReason, "UNSPECIFIED">;

/** A call, or the lookup of one id of a batch, failed. */
export class ClerkgateError extends Error {
  override name = "ClerkgateError";
  /**
   * The name of the call in the server's log. Undefined if the error does not come from the
   * server, and for one id of a batch.
   */
  readonly requestId: string | undefined;

  constructor(
    /** The gRPC status code. */
    readonly code: StatusCode,
    /**
     * The reason behind the code. Undefined if the error does not come from the
     * server, for example because it can't be reached. A newer server may have
     * reasons that this package does not know.
     */
    readonly reason: Reason | undefined,
    message: string,
    /** How long to wait before another try. Undefined if that is unknown. */
    readonly retryAfterMs?: number,
    options?: ErrorOptions & { requestId?: string },
  ) {
    super(`${code}${reason === undefined ? "" : ` (${reason})`}: ${message}`, options);
    this.requestId = options?.requestId;
  }
}

/**
 * The work with a lease is done, but the lease could not be returned: do not repeat the
 * work. The lease ends by itself; `cause` is what failed.
 */
export class NotReleasedError extends ClerkgateError {
  override name = "NotReleasedError";

  constructor(cause: ClerkgateError) {
    const message = `the work is done, but its lease was not returned: ${cause.message}`;
    super(cause.code, cause.reason, message, cause.retryAfterMs, { cause, requestId: cause.requestId });
  }
}

/** Returns the error of a call that failed. */
export function fromCall(thrown: unknown): ClerkgateError {
  const error = ConnectError.from(thrown);
  const retry = error.metadata.get("clerkgate-retry-ms");
  const details = fromDetails(error);
  const reason = (error.metadata.get("clerkgate-reason") ?? details.reason) as Reason | undefined;
  return new ClerkgateError(codeName(error.code), reason, error.rawMessage, retry === null ? details.retryAfterMs : Number(retry), {
    ...(reason === undefined && { cause: error.cause ?? error }),
    requestId: error.metadata.get("x-request-id") ?? undefined,
  });
}

/** Returns the error of one id of a batch. */
export function fromLookup(error: LookupError): ClerkgateError {
  return new ClerkgateError(
    codeName(error.code),
    (ErrorReason[error.reason] ?? String(error.reason)) as Reason,
    error.message,
    error.retryDelay && durationMs(error.retryDelay),
  );
}

function codeName(code: Code): StatusCode {
  if (code === Code.Canceled) {
    return "CANCELLED";
  }
  const name = Code[code] ?? "Unknown"; // such as NotFound
  return name.replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase() as StatusCode;
}

/** Reads google.rpc.ErrorInfo and RetryInfo, of which only the first field matters. */
function fromDetails(error: ConnectError): { reason?: string; retryAfterMs?: number } {
  const found: { reason?: string; retryAfterMs?: number } = {};
  for (const detail of error.details) {
    if (!("type" in detail)) {
      continue;
    }
    const reader = new BinaryReader(detail.value);
    while (reader.pos < reader.len) {
      const [field, wireType] = reader.tag();
      if (field === 1 && detail.type === "google.rpc.ErrorInfo") {
        found.reason = reader.string();
      } else if (field === 1 && detail.type === "google.rpc.RetryInfo") {
        found.retryAfterMs = durationMs(fromBinary(DurationSchema, reader.bytes()));
      } else {
        reader.skip(wireType, field);
      }
    }
  }
  return found;
}

/// <reference lib="esnext.disposable" preserve="true" />
import { create } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";

import { mostIds } from "./batch.js";
import { ClerkgateError, NotReleasedError } from "./errors.js";
import {
  type AcquirePermitsResponse,
  type ReleasePermitsRequest,
  ReleasePermitsRequestSchema,
} from "./gen/clerkgate/v1/quota_service_pb.js";

/**
 * Permits for requests that the caller sends to Clerk itself. What is set here is
 * reported when the lease is returned: by `await using`, or by `release`.
 */
export class Lease {
  /** The server's name of the lease. */
  readonly id: string;
  /** How many requests were sent. Undefined: all of them. */
  used: number | undefined;
  /**
   * How many of those got no answer. Undefined: none or, if the function given to
   * withPermits failed, all.
   */
  unanswered: number | undefined;
  /** The users that the requests changed. They are dropped from every cache. */
  readonly changedUserIds: string[] = [];
  /** Whether Clerk answered one of the requests with 429. */
  rateLimited = false;

  readonly #ends: number;
  readonly #release: (lease: Lease, failed: boolean) => Promise<void>;
  #released = false;

  /** @internal */
  constructor(
    /** How many requests may be sent. */
    readonly count: number,
    response: AcquirePermitsResponse,
    release: (lease: Lease, failed: boolean) => Promise<void>,
  ) {
    this.id = response.leaseId;
    this.#ends = performance.now() + (response.ttl ? durationMs(response.ttl) : 0);
    this.#release = release;
  }

  /** The time until the lease ends. Requests must have been answered by then. */
  get remainingMs(): number {
    return Math.max(0, this.#ends - performance.now());
  }

  /**
   * Returns the lease. Rejects with NotReleasedError if it can't be returned. One that has
   * ended is no error. Further calls do nothing.
   */
  async release(failed = false): Promise<void> {
    if (this.#released) {
      return;
    }
    this.#released = true;
    try {
      await this.#release(this, failed);
    } catch (error) {
      throw error instanceof ClerkgateError ? new NotReleasedError(error) : error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }
}

/** Returns the request that returns a lease. */
export function releaseRequest(lease: Lease, failed: boolean): ReleasePermitsRequest {
  const used = lease.used ?? lease.count;
  return create(ReleasePermitsRequestSchema, {
    leaseId: lease.id,
    usedCount: used,
    unansweredCount: lease.unanswered ?? (failed ? used : 0),
    changedUserIds: lease.changedUserIds.slice(0, mostIds),
    rateLimited: lease.rateLimited,
  });
}

/// <reference lib="esnext.disposable" preserve="true" />
import { create, type Message } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { type CallOptions as ConnectOptions, createClient, type Client as ServiceClient, type Transport } from "@connectrpc/connect";

import { type BatchResult, chunks, lookUp, mostIds } from "./batch.js";
import { checkOptions, cleanToken, date, duration, int32, timeout } from "./check.js";
import { ClerkgateError, fromCall } from "./errors.js";
import { CallerService, type WhoAmIResponse } from "./gen/clerkgate/v1/caller_service_pb.js";
import { type GetUsageResponse, type Quota as QuotaMessage, QuotaService } from "./gen/clerkgate/v1/quota_service_pb.js";
import {
  ListUsersRequestSchema,
  StreamUsersRequestSchema,
  type UnreadableUser as UnreadableUserMessage,
  UserService,
  UserView,
} from "./gen/clerkgate/v1/user_service_pb.js";
import { Lease, releaseRequest } from "./lease.js";
import { type Filter, type Plain, plain, toFilter } from "./plain.js";
import { resume, retry, RetryBudget } from "./retry.js";
import { toUser, type User } from "./user.js";

/** How urgent a call is: `batch` waits behind `interactive`. */
export type Priority = "interactive" | "batch";
/** The state of the quota, the queue, the breaker and the key. Durations are in ms. */
export type Quota = Plain<QuotaMessage>;
/** What the quota was spent on, in all and by each caller. */
export type Usage = Plain<GetUsageResponse>;
/** Who the server takes the caller for, and what the caller may do. */
export type Caller = Plain<WhoAmIResponse>;
/** A user of a page who is left out. */
export type UnreadableUser = Plain<UnreadableUserMessage>;

/** What both kinds of clients are configured by. */
export interface ClientOptions {
  /**
   * The name of the calling service, for fairness and usage figures: at most 64 letters,
   * digits, `.`, `_`, `-`, `/` and `:`.
   */
  caller?: string;
  /** How urgent calls are. Default: `interactive`. */
  priority?: Priority;
  /** How long a call may take, 1 to 2,147,483,647. Default: 10,000. */
  timeoutMs?: number;
  /** The token to show, or a function that returns the current one. */
  token?: string | (() => string | Promise<string>);
}

/** Options of every call. */
export interface CallOptions {
  /** Cancels the call: it then rejects with the signal's reason. */
  signal?: AbortSignal;
  /** How long the call may take. Default: the client's. */
  timeoutMs?: number;
  /** How urgent the call is. Default: the client's. */
  priority?: Priority;
}

/** Which copies of users are acceptable, and with which fields. */
export interface ReadOptions extends CallOptions {
  /** Whether to have all fields, private metadata among them, if that is allowed. */
  full?: boolean;
  /**
   * The age of the oldest acceptable copy. 0 asks Clerk; by default what the server
   * keeps will do, for a minute unless configured otherwise.
   */
  maxAgeMs?: number;
  /** The `updatedAt` that the users are known to have. Older copies are not returned. */
  minUpdatedAt?: Date;
}

/** Which users a stream has. */
export interface StreamOptions {
  /** Which users are wanted. Default: everybody. */
  filter?: Filter;
  /** The order, such as `-created_at` (the newest first, a list's default) or `last_name`. */
  orderBy?: string;
  /** Whether to have all fields, private metadata among them, if that is allowed. */
  full?: boolean;
  /** Is called with users who can't be read and are left out. Default: console.warn. */
  onUnreadable?: (user: UnreadableUser) => void;
  /** Ends the iteration: it then rejects with the signal's reason. */
  signal?: AbortSignal;
}

/** Which users a list has. Each page is a call. */
export interface ListOptions extends StreamOptions, CallOptions {
  /** How many users a page has, up to 500. Default: 100. */
  pageSize?: number;
}

/** Options of a lease. `timeoutMs` is the longest wait for it. */
export interface PermitOptions extends CallOptions {
  /** How long the lease lasts at most. Default: 30,000. */
  ttlMs?: number;
}

/**
 * Calls a clerkgate server. Methods reject with ClerkgateError if a call fails, and with
 * TypeError if an argument can't be sent.
 */
export class Client {
  readonly #users: ServiceClient<typeof UserService>;
  readonly #quota: ServiceClient<typeof QuotaService>;
  readonly #callers: ServiceClient<typeof CallerService>;
  readonly #options: ClientOptions;
  readonly #close: () => void;
  readonly #budget = new RetryBudget();
  /** The calls and streams under way. Undefined: the client is closed. */
  #open: Set<AbortController> | undefined = new Set();

  /** @internal Use `createClient`. */
  constructor(transport: Transport, options: ClientOptions, close: () => void = () => {}) {
    checkOptions(options);
    this.#users = createClient(UserService, transport);
    this.#quota = createClient(QuotaService, transport);
    this.#callers = createClient(CallerService, transport);
    this.#options = options;
    this.#close = close;
  }

  /** Closes the client. Calls and streams under way, and later ones, fail with code CANCELLED. */
  close(): void {
    const open = this.#open ?? [];
    this.#open = undefined;
    open.forEach((call) => call.abort(closed()));
    this.#close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Returns a user. Rejects with code NOT_FOUND if Clerk has no such user. */
  async getUser(userId: string, options: ReadOptions = {}): Promise<User> {
    const request = { userId, ...reading(options) };
    const { user, freshness } = await this.#call((call) => this.#users.getUser(request, call), options);
    if (user === undefined) {
      throw new ClerkgateError("INTERNAL", undefined, "the answer has no user");
    }
    return toUser(user, freshness);
  }

  /**
   * Returns any number of users, and an error for each id that has none. The ids are
   * asked for in calls of 100, four at a time, each with the timeout. It rejects only
   * if every call failed as a whole.
   */
  async batchGetUsers(userIds: Iterable<string>, options: ReadOptions = {}): Promise<BatchResult> {
    const wanted = reading(options);
    return await lookUp(userIds, (ids) =>
      this.#call((call) => this.#users.batchGetUsers({ userIds: ids, ...wanted }, call), options),
    );
  }

  /**
   * Iterates over the users that match a filter, page by page. Each page is read when
   * the iteration reaches it, and costs a request to Clerk.
   */
  async *listUsers(options: ListOptions = {}): AsyncGenerator<User, void, undefined> {
    const request = create(ListUsersRequestSchema, {
      filter: toFilter(options.filter),
      orderBy: options.orderBy,
      pageSize: int32("pageSize", options.pageSize ?? 100),
      view: view(options.full),
    });
    do {
      const page = await this.#call((call) => this.#users.listUsers(request, call), options);
      page.unreadable.forEach((user) => (options.onUnreadable ?? warn)(plain(user)));
      for (const user of page.users) {
        yield toUser(user, page.freshness);
      }
      request.pageToken = page.nextPageToken;
    } while (request.pageToken !== "");
  }

  /**
   * Iterates over all users that match a filter, by time of creation and with priority
   * `batch`. A stream that breaks is resumed behind the last user.
   */
  async *streamUsers(options: StreamOptions = {}): AsyncGenerator<User, void, undefined> {
    const request = create(StreamUsersRequestSchema, {
      filter: toFilter(options.filter),
      orderBy: options.orderBy,
      view: view(options.full),
    });
    for await (const message of this.#resume((call) => this.#users.streamUsers(request, call), options.signal)) {
      message.unreadable.forEach((user) => (options.onUnreadable ?? warn)(plain(user)));
      for (const user of message.users) {
        yield toUser(user, message.freshness);
      }
      if (message.resumeToken === "") {
        return; // the last message
      }
      request.resumeToken = message.resumeToken;
    }
    throw new ClerkgateError("INTERNAL", undefined, "the stream ended before its last message");
  }

  /** Returns how many users match a filter. */
  async countUsers(filter?: Filter, options: CallOptions = {}): Promise<number> {
    const request = { filter: toFilter(filter) };
    return (await this.#call((call) => this.#users.countUsers(request, call), options)).totalCount;
  }

  /** Drops users from every cache, for a caller that has just changed them. */
  async invalidateUsers(userIds: Iterable<string>, options: CallOptions = {}): Promise<void> {
    for (const ids of chunks(userIds)) {
      await this.#call((call) => this.#users.invalidateUsers({ userIds: ids }, call), options);
    }
  }

  /** Returns the state of the quota, the queue, the breaker and the key. */
  async getQuota(options: CallOptions = {}): Promise<Quota> {
    const { quota } = await this.#call((call) => this.#quota.getQuota({}, call), options);
    return present(quota);
  }

  /**
   * Iterates over the states of the quota: the current one, then each change, at most one
   * per `minIntervalMs` (1,000). A watch that breaks is begun again.
   */
  async *watchQuota(options: { minIntervalMs?: number; signal?: AbortSignal } = {}): AsyncGenerator<Quota, void, undefined> {
    const request = { minInterval: duration("minIntervalMs", options.minIntervalMs) };
    for await (const { quota } of this.#resume((call) => this.#quota.watchQuota(request, call), options.signal)) {
      yield present(quota);
    }
  }

  /** Returns what the quota was spent on, in all and by each caller. */
  async getUsage(options: CallOptions = {}): Promise<Usage> {
    return plain(await this.#call((call) => this.#quota.getUsage({}, call), options));
  }

  /** Returns who the server takes the caller for, and what the caller may do. */
  async whoAmI(options: CallOptions = {}): Promise<Caller> {
    return plain(await this.#call((call) => this.#callers.whoAmI({}, call), options));
  }

  /**
   * Lends permits for requests that the caller sends to Clerk itself. Return them:
   * `await using lease = await client.permits(2)`, or by `lease.release()`. Both reject
   * with NotReleasedError if the lease can't be returned.
   */
  async permits(count = 1, options: PermitOptions = {}): Promise<Lease> {
    // The id has a retry return the lease that was already granted.
    const request = { count: int32("count", count), ttl: duration("ttlMs", options.ttlMs), requestId: crypto.randomUUID() };
    const response = await this.#call((call) => this.#quota.acquirePermits(request, call), options);
    return new Lease(count, response, (lease, failed) => this.#release(lease, failed));
  }

  async #release(lease: Lease, failed: boolean): Promise<void> {
    let changed = lease.changedUserIds.slice(mostIds);
    try {
      await this.#call((call) => this.#quota.releasePermits(releaseRequest(lease, failed), call), {});
    } catch (error) {
      const { reason } = error as Partial<ClerkgateError>;
      if (reason !== "LEASE_NOT_FOUND" && reason !== "LEASE_UNREACHABLE") {
        throw error;
      }
      // It has ended, or ends by itself: the server has counted all of its permits as used.
      changed = lease.changedUserIds;
    }
    await this.invalidateUsers(changed);
  }

  /**
   * Calls a function with permits, and returns them when it has ended. If it fails, the
   * requests that it has not accounted for count as unanswered. Rejects with
   * NotReleasedError if the function has succeeded but its lease can't be returned.
   */
  async withPermits<T>(count: number, work: (lease: Lease) => Promise<T>, options: PermitOptions = {}): Promise<T> {
    const lease = await this.permits(count, options);
    let result: T;
    try {
      result = await work(lease);
    } catch (error) {
      await lease.release(true).catch(() => {}); // the function's own error counts
      throw error;
    }
    await lease.release();
    return result;
  }

  /** Makes a unary call with the metadata, deadline and retries that it should have. */
  async #call<T>(method: (options: ConnectOptions) => Promise<T>, options: CallOptions): Promise<T> {
    const timeoutMs = timeout(options.timeoutMs ?? this.#options.timeoutMs ?? 10_000);
    const { signal, end } = this.#begin(options.signal);
    const attempt = async (timeLeftMs: number) => {
      const headers = await this.#headers(options.priority);
      signal.throwIfAborted();
      try {
        return await method({ signal, timeoutMs: timeLeftMs, headers });
      } catch (error) {
        signal.throwIfAborted();
        throw fromCall(error);
      }
    };
    try {
      return await retry(attempt, timeoutMs, signal, this.#budget);
    } finally {
      end();
    }
  }

  /** Iterates over a stream's messages. One that breaks is opened again. */
  async *#resume<T>(method: (options: ConnectOptions) => AsyncIterable<T>, outer?: AbortSignal): AsyncGenerator<T> {
    const { signal, end } = this.#begin(outer);
    try {
      yield* resume(() => this.#stream(method, signal), signal);
    } finally {
      end();
    }
  }

  /** Opens a stream with the metadata that it should have. */
  async *#stream<T>(method: (options: ConnectOptions) => AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T> {
    const headers = await this.#headers();
    signal.throwIfAborted();
    try {
      yield* method({ signal, timeoutMs: 0, headers });
    } catch (error) {
      signal.throwIfAborted();
      throw fromCall(error);
    }
  }

  /**
   * Begins a call or stream. Its signal aborts with the caller's and when the client is
   * closed; `end` aborts it, which ends a stream that is left early.
   */
  #begin(outer?: AbortSignal): { signal: AbortSignal; end: () => void } {
    if (this.#open === undefined) {
      throw closed();
    }
    const call = new AbortController();
    const abort = () => call.abort(outer?.reason);
    if (outer?.aborted) {
      abort();
    }
    outer?.addEventListener("abort", abort, { once: true });
    this.#open.add(call);
    const end = () => {
      outer?.removeEventListener("abort", abort);
      this.#open?.delete(call);
      call.abort();
    };
    return { signal: call.signal, end };
  }

  async #headers(priority?: Priority): Promise<Headers> {
    const { caller, token } = this.#options;
    const headers = new Headers({ "clerkgate-priority": priority ?? this.#options.priority ?? "interactive" });
    if (caller !== undefined) {
      headers.set("clerkgate-caller", caller);
    }
    if (token !== undefined) {
      const current = typeof token === "string" ? token : await token();
      headers.set("authorization", `Bearer ${cleanToken(current)}`);
    }
    return headers;
  }
}

function closed(): ClerkgateError {
  return new ClerkgateError("CANCELLED", undefined, "the client is closed");
}

function reading(options: ReadOptions) {
  return {
    view: view(options.full),
    maxAge: duration("maxAgeMs", options.maxAgeMs),
    minUpdatedAt: options.minUpdatedAt && timestampFromDate(date("minUpdatedAt", options.minUpdatedAt)),
  };
}

function view(full: boolean | undefined): UserView {
  return full ? UserView.FULL : UserView.BASIC;
}

function present<T extends Message>(message: T | undefined): Plain<T> {
  if (message === undefined) {
    throw new ClerkgateError("INTERNAL", undefined, "the answer is empty");
  }
  return plain(message);
}

function warn(user: UnreadableUser): void {
  console.warn(`clerkgate: a user is left out: ${user.userId}: ${user.message}`);
}

import { ClerkgateError } from "./errors.js";

/** How often a call is tried at most. */
const mostAttempts = 3;
/** How often a stream may fail before its first message: some 3 s. */
const mostRefusals = 5;
/** How often it may break later, without a message between: some 35 s, for a restart of the server. */
const mostBreaks = 12;

/** The tokens of a full budget. */
const mostTokens = 100;
/** The part of a token that a call which succeeds brings. */
const tokenRatio = 0.1;

/**
 * Bounds the retries of a client, as gRPC's retryThrottling does: after 50 failures no call
 * is retried until enough have succeeded, ten for each failure, so that an outage does not
 * triple the calls.
 */
export class RetryBudget {
  #tokens = mostTokens;

  succeeded(): void {
    this.#tokens = Math.min(this.#tokens + tokenRatio, mostTokens);
  }

  /** Counts a failure and reports whether the call may be retried. */
  failed(): boolean {
    this.#tokens = Math.max(this.#tokens - 1, 0);
    return this.#tokens > mostTokens / 2;
  }
}

/** Returns a backoff that doubles from 100 ms, give or take a fifth at random. */
function backoffMs(failures: number, mostMs: number): number {
  return Math.min(100 * 2 ** (failures - 1), mostMs) * (0.8 + 0.4 * Math.random());
}

/** Resolves after a time, or rejects with the signal's reason. */
function sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const aborted = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", aborted);
      resolve();
    }, ms);
    if (signal?.aborted) {
      aborted();
    }
    signal?.addEventListener("abort", aborted, { once: true });
  });
}

/**
 * Makes a call, and again after UNAVAILABLE as long as there is time. Nothing else is
 * retried: after RESOURCE_EXHAUSTED the caller decides whether to come back.
 */
export async function retry<T>(
  call: (timeoutMs: number) => Promise<T>,
  timeoutMs: number,
  signal: AbortSignal | undefined,
  budget: RetryBudget,
): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  for (let attempt = 1; ; attempt++) {
    try {
      const answer = await call(Math.max(1, deadline - Date.now()));
      budget.succeeded();
      return answer;
    } catch (error) {
      if (!(error instanceof ClerkgateError) || error.code !== "UNAVAILABLE" || !budget.failed() || attempt === mostAttempts) {
        throw error;
      }
      const delay = Math.max(backoffMs(attempt, 2_000), error.retryAfterMs ?? 0);
      if (Date.now() + delay >= deadline) {
        throw error;
      }
      await sleep(delay, signal);
    }
  }
}

/** Iterates over a stream's messages. One that breaks is opened again. */
export async function* resume<T>(open: () => AsyncIterable<T>, signal: AbortSignal | undefined): AsyncGenerator<T> {
  let begun = false;
  let breaks = 0;
  for (;;) {
    try {
      for await (const message of open()) {
        begun = true;
        breaks = 0;
        yield message;
      }
      return;
    } catch (error) {
      breaks++;
      if (!(error instanceof ClerkgateError) || !isPassing(error, begun) || breaks > (begun ? mostBreaks : mostRefusals)) {
        throw error;
      }
      await sleep(Math.max(backoffMs(breaks, 5_000), error.retryAfterMs ?? 0), signal);
    }
  }
}

/** Reports whether a stream that ended with the error is worth resuming. */
function isPassing({ code, reason, retryAfterMs }: ClerkgateError, begun: boolean): boolean {
  switch (code) {
    case "UNAVAILABLE":
      return true;
    case "ABORTED":
      return reason === "STREAM_NOT_READ";
    case "RESOURCE_EXHAUSTED":
      return begun && retryAfterMs !== undefined;
    case "INTERNAL":
    case "UNKNOWN":
      return reason === undefined && begun; // the connection was reset
    default:
      return false;
  }
}

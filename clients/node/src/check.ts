import { durationFromMs } from "@bufbuild/protobuf/wkt";

import type { ClientOptions } from "./client.js";

/** The longest time of a timer, 24 days. */
const mostMs = 2 ** 31 - 1;

/** Throws a TypeError unless the options of a client are valid. */
export function checkOptions({ caller, priority, timeoutMs, token }: ClientOptions): void {
  if (caller !== undefined && !/^[A-Za-z0-9._/:-]{0,64}$/.test(caller)) {
    throw new TypeError(`caller is ${JSON.stringify(caller)}: want at most 64 letters, digits, '.', '_', '-', '/' and ':'`);
  }
  if (priority !== undefined && priority !== "interactive" && priority !== "batch") {
    throw new TypeError(`priority is ${JSON.stringify(priority)}: want "interactive" or "batch"`);
  }
  if (timeoutMs !== undefined) {
    timeout(timeoutMs);
  }
  if (typeof token === "string") {
    cleanToken(token);
  }
}

/** Throws a TypeError unless a token may be sent: over TLS, or to the same machine. */
export function checkToken({ token }: ClientOptions, tls: boolean, host: string): void {
  if (token !== undefined && !tls && !/^(localhost|127(\.\d{1,3}){3}|\[?::1\]?)$/.test(host)) {
    throw new TypeError("a token is sent over TLS, to a loopback address or to a Unix socket only: use https://");
  }
}

/** Returns a token without spaces around it. Its errors do not show the token. */
export function cleanToken(token: string): string {
  const clean = token.trim();
  if (clean === "") {
    throw new TypeError("the token is empty");
  }
  if (!/^[!-~]+$/.test(clean)) {
    throw new TypeError("the token has other characters than printable ASCII, or a space");
  }
  return clean;
}

/** Returns a timeout in whole milliseconds. Others than these overflow timers, or crash gRPC. */
export function timeout(ms: number): number {
  if (typeof ms !== "number" || !(ms > 0 && ms <= mostMs)) {
    throw new TypeError(`timeoutMs is ${ms}: want a number from 1 to ${mostMs}`);
  }
  return Math.ceil(ms);
}

export function duration(name: string, ms: number | undefined) {
  if (ms === undefined) {
    return undefined;
  }
  if (!Number.isFinite(ms)) {
    throw new TypeError(`${name} is ${ms}: want a number of milliseconds`);
  }
  return durationFromMs(ms);
}

export function date(name: string, value: Date): Date {
  if (!Number.isFinite(value.getTime?.())) {
    throw new TypeError(`${name} is no valid Date`);
  }
  return value;
}

export function int32(name: string, value: number): number {
  if (!Number.isInteger(value) || Math.abs(value) > mostMs) {
    throw new TypeError(`${name} is ${value}: want a whole number`);
  }
  return value;
}
